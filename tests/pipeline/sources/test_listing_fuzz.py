"""Thousands of mutated archives and tables: each input reads or has a fault of a known kind; nothing crashes, hangs,
takes much memory or is lost.

By default a sample; RECAST_FUZZ=10000 makes that many of each kind.
"""

import csv
import gzip
import io
import os
import random
import resource
import tarfile
import time
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recast.pipeline.bulk.units import pack_unit
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources import contents
from recast.pipeline.sources.inventory import Source, inventory
from recast.pipeline.storage import StorageError

LIMIT = 1 << 20
MUTATIONS = int(os.environ.get("RECAST_FUZZ", "150"))
SLOWEST_S = 20.0
MOST_TAKEN_KIB = 256 << 10
"""Memory that all mutations of a kind may take beyond what the process had."""
KINDS = {
    *("unsafe-name", "not-a-file", "duplicate-member", "truncated", "too-large", "corrupt", "encrypted", "unsupported"),
    *("missing", "no-uri", "empty"),
}
IMAGES = {"a.png": bytes(range(256)) * 3, "sub/b c.png": b"", "ü.jpg": b"\0" * 700, "x" * 150 + ".png": b"long"}


def tar(form=tarfile.GNU_FORMAT):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        for name, image in IMAGES.items():
            info = tarfile.TarInfo(name)
            info.size = len(image)
            info.pax_headers = {"comment": "c" * 20}
            archive.addfile(info, io.BytesIO(image))
    return data.getvalue()


def zipped():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number, (name, image) in enumerate(IMAGES.items()):
            archive.writestr(name, image, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
        with archive.open("wide.png", "w", force_zip64=True) as member:
            member.write(b"wide")
    return data.getvalue()


def rows():
    uris = ["a.png", "file:///no/such.png", "sub/b c.png", "s3://bucket/x.png", "../x.png", "ü.jpg"]
    return {"key": [f"{n}.png" for n in range(6)], "uri": uris, "size": ["768", "", "0", "1", "x", "700"]}


def csv_table():
    data = io.StringIO()
    writer = csv.writer(data, quoting=csv.QUOTE_ALL)
    writer.writerows([list(rows()), *zip(*rows().values(), strict=True)])
    return data.getvalue().encode()


def parquet_inventory():
    return parquet(pa.table({**rows(), "last_modified": pa.array(range(6), pa.timestamp("us"))}))


def parquet_images():
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": image, "path": name} for name, image in IMAGES.items()] * 3
    return parquet(pa.table({"image": pa.array(images, kind)}))


def parquet(table):
    data = io.BytesIO()
    pq.write_table(table, data, row_group_size=4, compression="zstd")
    return data.getvalue()


def mutated(data, chance):
    """One to four of: bytes overwritten, a bit flipped, a piece cut out, a piece doubled, the end cut off."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(data) + 1), chance.randint(1, 64)
        match chance.randrange(6):
            case 0 | 1:
                noise = chance.choice([chance.randbytes(length), b"\0" * length, b"\xff" * length, b"9" * length])
                data[place : place + length] = noise
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + 8 * length]
            case 4:
                del data[max(place, 1) :]
            case 5:
                if place < len(data):
                    data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


@pytest.mark.parametrize(("ending", "make", "share"), [
    (".tar", tar, 1), (".tar", lambda: tar(tarfile.PAX_FORMAT), 1), (".tar.gz", lambda: gzip.compress(tar()), 0.5),
    (".zip", zipped, 1), (".csv", csv_table, 1), (".parquet", parquet_inventory, 0.5),
    (".parquet", parquet_images, 0.5),
], ids=["tar", "pax", "tar.gz", "zip", "csv", "parquet-inventory", "parquet-images"])  # fmt: skip
def test_mutated_archives_and_tables(tmp_path, ending, make, share):
    for name, image in IMAGES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(image)
    sound, chance = make(), random.Random(20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = faults = refused = 0
    count = int(MUTATIONS * (1 if MUTATIONS > 1000 else share))
    for number in range(count):
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(mutated(sound, chance))
        began = time.monotonic()
        try:
            found = list(inventory(Source(urls=(str(path),))))
        except StorageError:
            refused += 1
            path.unlink()
            continue
        assert len({item.key for item in found}) == len(found)
        pack_unit(found)
        for item in found:
            try:
                contents.read(item, LIMIT)
                read += 1
            except InputError as fault:
                assert fault.kind in KINDS, fault
                faults += 1
        assert time.monotonic() - began < SLOWEST_S
        path.unlink()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_TAKEN_KIB
    assert min(read, faults + refused) > count // 20  # the mutations are neither too mild nor too wild
