"""Thousands of mutated archives: each input reads or has a fault of a known kind; nothing crashes, hangs or is lost."""

import gzip
import io
import random
import tarfile
import zipfile

import pytest

from recast.pipeline.images import contents
from recast.pipeline.images.faults import Fault
from recast.pipeline.images.sources import Source, inventory
from recast.pipeline.storage import StorageError

LIMIT = 1 << 20
KINDS = {
    "unsafe-name", "not-a-file", "duplicate-member", "truncated", "too-large", "corrupt", "encrypted", "unsupported",
}  # fmt: skip
IMAGES = {"a.png": bytes(range(256)) * 3, "sub/b c.png": b"", "ü.jpg": b"\0" * 700}


def tar():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, image in IMAGES.items():
            info = tarfile.TarInfo(name)
            info.size = len(image)
            archive.addfile(info, io.BytesIO(image))
    return data.getvalue()


def zipped():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number, (name, image) in enumerate(IMAGES.items()):
            archive.writestr(name, image, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
    return data.getvalue()


def mutated(data, random):
    """One to four of: bytes overwritten, a piece cut out, a piece doubled, the end cut off."""
    data = bytearray(data)
    for _ in range(random.randint(1, 4)):
        place, length = random.randrange(len(data) + 1), random.randint(1, 64)
        match random.randrange(5):
            case 0 | 1:
                noise = random.choice([random.randbytes(length), b"\0" * length, b"\xff" * length, b"9" * length])
                data[place : place + length] = noise
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + 8 * length]
            case 4:
                del data[max(place, 1) :]
    return bytes(data)


@pytest.mark.parametrize(("ending", "make", "count"), [
    (".tar", tar, 1500), (".zip", zipped, 1500), (".tar.gz", lambda: gzip.compress(tar()), 500),
])  # fmt: skip
def test_mutated_archives(tmp_path, ending, make, count):
    sound, chance = make(), random.Random(20)
    read = faults = refused = 0
    for number in range(count):
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(mutated(sound, chance))
        try:
            found = list(inventory(Source(urls=(str(path),))))
        except StorageError:
            refused += 1
            continue
        assert len({item.key for item in found}) == len(found)
        for item in found:
            try:
                contents.read(item, LIMIT)
                read += 1
            except Fault as fault:
                assert fault.kind in KINDS
                faults += 1
        path.unlink()
    assert min(read, faults, refused) > count // 20  # the mutations are neither too mild nor too wild
