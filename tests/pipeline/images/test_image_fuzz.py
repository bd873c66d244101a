"""Mutated image files decode or have a fault of a known kind: no other exception, no hang, memory within a bound.

`make test` tries a sample. All of it: `RECAST_FUZZ=10000 pytest tests/pipeline/images/test_image_fuzz.py --timeout=0`.
"""

import io
import os
import random
import resource
import struct
import time
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from recast.pipeline.images.decode import decode
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError

MUTATIONS = int(os.environ.get("RECAST_FUZZ", "250"))
"""Of each family of formats."""
LIMIT = 4_000_000
MOST_BYTES = 384 << 20
"""What the process may grow by while it decodes files of up to LIMIT pixels: 32 bytes of samples for each pixel, which
exist up to twice, and the decoders' own."""
MOST_SECONDS = 5.0
KINDS = {"empty", "not-an-image", "unsupported", "too-large", "truncated", "corrupt"}
CAT = data.chelsea()[60:92, 120:168]
GREY = CAT.mean(axis=2)


def encoded(kind: str, image: Image.Image | None = None, **options) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(CAT)).save(file, kind, **options)
    return file.getvalue()


def animated(kind: str) -> bytes:
    return encoded(kind, save_all=True, append_images=[Image.fromarray(CAT[::-1].copy())] * 2)


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "rgb" if pixels.ndim == 3 else "minisblack"} | options))
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010F] = 6, "Operation"
FAMILIES = {
    "png": lambda: [
        encoded("PNG", exif=EXIF, icc_profile=bytes(300)), encoded("PNG", Image.fromarray(CAT).convert("P")),
        encoded("PNG", Image.fromarray((GREY * 257).astype(np.uint16))), animated("PNG"),
    ],
    "jpeg": lambda: [
        encoded("JPEG", exif=EXIF), encoded("JPEG", progressive=True), animated("MPO"),
        encoded("JPEG", Image.fromarray(CAT).convert("CMYK")),
    ],
    "tiff": lambda: [
        encoded("TIFF", compression="tiff_lzw"), encoded("TIFF", compression="jpeg"), animated("TIFF"),
        tiff((CAT / 255).astype(np.float32), tile=(16, 16)), tiff((GREY * 9 - 700).astype(np.int16)),
        tiff(np.dstack([CAT, CAT]).astype(np.uint16), bigtiff=True), encoded("TIFF", Image.fromarray(CAT).convert("1")),
    ],
    "webp": lambda: [encoded("WEBP", exif=EXIF), encoded("WEBP", lossless=True), animated("WEBP")],
    "gif": lambda: [encoded("GIF"), animated("GIF")],
    "others": lambda: [
        encoded("BMP"), encoded("ICO", sizes=[(16, 16), (32, 32)]), encoded("ICO", bitmap_format="bmp"),
        encoded("PPM"), encoded("TGA"), encoded("DDS"), encoded("JPEG2000"), encoded("AVIF"),
    ],
}  # fmt: skip
SHARES = {"gif": 0.5, "others": 0.5}


def mutated(file: bytes, chance: random.Random) -> bytes:
    """One to five of: bytes overwritten (often near an end), a number changed, a piece cut out or doubled."""
    changed = bytearray(file)
    for _ in range(chance.randint(1, 5)):
        size = len(changed)
        if not size:
            break
        at = chance.choice(
            [chance.randrange(size), chance.randrange(min(size, 200)), -1 - chance.randrange(min(size, 300))]
        )
        at %= size
        match chance.randrange(8):
            case 0 | 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                changed[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\1\0"])
            case 3:
                changed[at : at + 2] = chance.randbytes(2)
            case 4:
                changed[at : at + chance.randint(1, 40)] = chance.randbytes(chance.randint(0, 40))
            case 5:
                changed[at:at] = changed[max(0, at - chance.randint(1, 400)) : at]
            case 6:
                del changed[at : at + chance.randint(1, 400)]
            case 7 if chance.random() < 0.3:
                del changed[max(at, 1) :]
    return bytes(changed)


def with_sound_checksums(file: bytes) -> bytes:
    """A PNG whose chunks' checksums are right again, so that what was changed in them is read."""
    out, at = bytearray(file), 8
    while at + 12 <= len(out):
        length = struct.unpack_from(">I", out, at)[0]
        if at + 12 + length > len(out):
            break
        struct.pack_into(">I", out, at + 8 + length, zlib.crc32(out[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(out)


def outcome(file: bytes) -> str:
    """A fault's kind, or `ok` for a picture that is one."""
    try:
        picture = decode(file, LIMIT)
    except InputError as fault:
        assert fault.kind in KINDS
        assert "\n" not in fault.sentence
        return fault.kind
    assert isinstance(picture, Picture)
    assert picture.pixels.dtype in (np.uint8, np.uint16)
    assert picture.pixels.ndim == 3
    assert picture.pixels.shape[2] in (1, 3)
    assert picture.pixels.flags.c_contiguous
    assert 0 < picture.pixels.shape[0] * picture.pixels.shape[1] <= LIMIT
    if picture.alpha is not None:
        assert (picture.alpha.shape, picture.alpha.dtype) == (picture.pixels.shape[:2], np.uint8)
    return "ok"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("family", FAMILIES)
def test_mutated_images(family):
    chance, sound = random.Random(f"recast {family}"), FAMILIES[family]()
    assert [outcome(file) for file in sound] == ["ok"] * len(sound)
    before, slowest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    outcomes: dict[str, int] = {}
    for number in range(int(MUTATIONS * SHARES.get(family, 1))):
        file = mutated(sound[number % len(sound)], chance)
        if family == "png" and chance.random() < 0.7:
            file = with_sound_checksums(file)
        begun = time.process_time()
        kind = outcome(file)
        slowest = max(slowest, time.process_time() - begun)
        outcomes[kind] = outcomes.get(kind, 0) + 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    print(family, outcomes, f"slowest {slowest:.2f} s, grown by {grown >> 20} MiB")
    assert slowest < MOST_SECONDS
    assert grown < MOST_BYTES
    assert outcomes.get("ok", 0) > 0  # the mutations are not too wild
    assert sum(outcomes.values()) > outcomes["ok"]  # nor too mild
