"""Formats: what is read is read whole, what is not is named, and what a file holds besides its picture is a note."""

import io
import struct
import time
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from skimage import data

from recast.pipeline.images.decode import decode
from recast.pipeline.images.encode import Encoder
from recast.pipeline.input_errors import InputError

LIMIT = 10_000_000
CAT = data.chelsea()[60:124, 120:216]
PICTURE = Image.fromarray(CAT)


def encoded(kind: str, image: Image.Image = PICTURE, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PNG, JPEG = encoded("PNG"), encoded("JPEG", quality=95)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 255, marker, len(body) + 2) + body


def with_chunk(kind: bytes, body: bytes) -> bytes:
    return PNG[:33] + chunk(kind, body) + PNG[33:]


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def refused(file: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(InputError) as caught:
        decode(file, limit)
    return str(caught.value)


@pytest.mark.parametrize(("head", "said"), [
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported: HEIC, which is not read; convert it first"),
    (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "unsupported: HEIC"),
    (b"\xff\x0a\xfa\x7f", "unsupported: JPEG XL"), (b"\0\0\0\x0cJXL \r\n\x87\n", "unsupported: JPEG XL"),
    (bytes(128) + b"DICM", "unsupported: DICOM"), (b"8BPS\0\1", "unsupported: Photoshop PSD"),
    (b"v/1\1\2\0\0\0", "unsupported: OpenEXR"), (b"#?RADIANCE\n", "unsupported: Radiance HDR"),
    (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported: SVG"),
    (b"\0\0\0\x18ftypcrx \0\0\0\1", "unsupported: camera raw (Canon CR3)"),
    (b"FUJIFILMCCD-RAW 0201", "unsupported: camera raw (Fujifilm RAF)"),
    (b"IIRO\x08\0\0\0", "unsupported: camera raw (Olympus ORF)"),
    (b"IIU\0\x18\0\0\0", "unsupported: camera raw (Panasonic RW2)"),
    (b"II\x1a\0\0\0HEAPCCDR", "unsupported: camera raw (Canon CRW)"),
    (b"7z\xbc\xaf\x27\x1c\0\4", "not-an-image: a 7z archive"), (b"Rar!\x1a\7\1\0", "not-an-image: a RAR archive"),
    (b"PK\3\4\x14\0", "not-an-image: a zip archive"), (b"\x1f\x8b\x08\0", "not-an-image: gzip-compressed"),
    (b"%PDF-1.7\n", "not-an-image: a PDF"), (b"\0\0\0\x20ftypisom\0\0\2\0", "not-an-image: an MP4 film"),
    (b"\0\0\0\x14ftypqt  \0\0\0\0", "not-an-image: a QuickTime film"),
    (b"\x1aE\xdf\xa3\x93B\x82\x88", "not-an-image: a Matroska or WebM film"),
    (b"<!DOCTYPE html><html>", "not-an-image: an HTML page"),
    (b"version https://git-lfs.github.com/spec/v1\n", "not-an-image: a Git LFS pointer, not the file"),
    (b"\0\5\x16\7\0\2\0\0Mac OS X", "not-an-image: macOS's notes on another file"),
])  # fmt: skip
def test_what_is_not_read_is_named_by_how_it_begins(head, said):
    assert refused(head + b"\1\2\3\4" * 100).startswith(said)


def test_jpegs_of_other_kinds_are_named():
    def frame(marker: int, bits: int, channels: int) -> bytes:
        components = b"".join(bytes([n, 0x11, 0]) for n in range(channels))
        return b"\xff\xd8" + segment(marker, struct.pack(">BHHB", bits, 8, 8, channels) + components) + bytes(50)

    assert refused(frame(0xC1, 12, 3)).startswith("unsupported: a JPEG of 12 bits and 3 channels")
    assert refused(frame(0xC3, 8, 1)).startswith(("unsupported: lossless JPEG", "truncated", "corrupt"))
    assert refused(frame(0xC0, 8, 2)).startswith("unsupported: a JPEG of 8 bits and 2 channels")
    assert refused(PNG[:16] + b"\xff" * 30).startswith("corrupt: ")


@pytest.mark.parametrize(("kind", "body"), [
    (b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2_000_000)),
    (b"tEXt", b"workflow\0" + b"x" * 2_000_000),
    (b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"x" * 5_000_000)),
    (b"iCCP", b"large\0\0" + zlib.compress(np.random.default_rng(0).bytes(2_000_000))),
    (b"zTXt", b"bomb\0\0" + zlib.compress(bytes(40_000_000))),
    (b"zTXt", b"broken\0\0not deflated"), (b"iCCP", b"broken\0\0not deflated"),
    (b"eXIf", b"junk junk"), (b"eXIf", b""), (b"eXIf", b"Exif\0\0II*\0\xff\xff\xff\xff"), (b"eXIf", b"II*\0"),
])  # fmt: skip
def test_no_text_profile_or_exif_costs_a_png_its_pixels(kind, body):
    file = with_chunk(kind, body)
    tracemalloc.start()
    picture = decode(file, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(picture.pixels, CAT)
    assert peak < 64 << 20
    Encoder(metadata="keep").encode(picture)


def test_a_large_profile_is_kept_and_a_profile_bomb_is_not():
    profile = np.random.default_rng(0).bytes(2_000_000)
    assert decode(with_chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)), LIMIT).icc == profile
    bomb = decode(with_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(40_000_000))), LIMIT)
    assert (bomb.icc, bomb.notes) == (None, ("a damaged or too large colour profile left out",))


@pytest.mark.parametrize("exif", [
    b"Exif\0\0", b"Exif\0\0Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", b"Exif\0\0" + b"junk" * 20, b"Exif\0\0II*\0\x08\0",
    b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40),
    b"Exif\0\0II*\0\x08\0\0\0\2\0" + struct.pack("<HHII", 274, 3, 9, 9) * 2,
])  # fmt: skip
def test_odd_exif_costs_no_image_its_pixels(exif):
    truth = decode(JPEG, LIMIT).pixels
    assert np.array_equal(decode(JPEG[:2] + segment(0xE1, exif) + JPEG[2:], LIMIT).pixels, truth)
    assert np.array_equal(decode(with_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")), LIMIT).pixels, CAT)
    webp = encoded("WEBP", lossless=True, exif=exif)
    picture = decode(webp, LIMIT)
    assert np.array_equal(picture.pixels, CAT)
    Encoder(metadata="keep").encode(picture)


def test_exif_of_older_writers_and_xmp_turn_a_png_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    digits = exif.tobytes().hex().encode()
    text = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % (len(digits) // 2) + digits + b"\n")
    upright = np.rot90(CAT, -1)
    assert np.array_equal(decode(with_chunk(b"zTXt", text), LIMIT).pixels, upright)
    xmp = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    assert np.array_equal(decode(with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp), LIMIT).pixels, upright)


def test_one_transparent_colour_is_transparent_at_every_depth():
    def transparent(bits: int, colour: int, row: bytes, width: int, key: bytes) -> list[int]:
        picture = decode(png(width, 1, bits, colour, b"\0" + row, chunk(b"tRNS", key)), LIMIT)
        assert picture.alpha is not None
        return picture.alpha[0].tolist()

    assert transparent(1, 0, b"\x40", 2, b"\0\1") == [255, 0]
    assert transparent(2, 0, b"\x1b", 4, b"\0\1") == [255, 0, 255, 255]
    assert transparent(4, 0, b"\x01", 2, b"\0\1") == [255, 0]
    assert transparent(8, 0, b"\x01\x02", 2, b"\0\2") == [255, 0]
    assert transparent(16, 0, struct.pack(">2H", 256, 257), 2, b"\1\1") == [255, 0]
    assert transparent(8, 2, b"\1\1\1\1\1\2", 2, b"\0\1\0\1\0\2") == [255, 0]
    keys = struct.pack(">3H", 257, 256, 256)
    assert transparent(16, 2, struct.pack(">6H", 256, 256, 256, 257, 256, 256), 2, keys) == [255, 0]
    palette = decode(
        png(3, 1, 8, 3, b"\0\0\1\2", chunk(b"PLTE", bytes(range(9))), chunk(b"tRNS", b"\xff\x80\0")), LIMIT
    )
    assert palette.alpha[0].tolist() == [255, 128, 0]
    assert palette.pixels[0].reshape(-1).tolist() == list(range(9))


def test_sixteen_bits_with_opacity_keep_both():
    deep = np.dstack([CAT[..., ::-1].astype(np.uint16) * 257, np.full(CAT.shape[:2], 40_000, np.uint16)])
    picture = decode(cv2.imencode(".png", deep)[1].tobytes(), LIMIT)
    assert np.array_equal(picture.pixels, CAT.astype(np.uint16) * 257)
    assert picture.alpha.max() == 40_000 >> 8


def test_bits_that_are_lost_are_named():
    assert decode(b"P6 2 1 65535\n" + bytes(12), LIMIT).notes == ("reduced to 8 bits from 16",)
    assert decode(b"P5 2 1 65535\n" + bytes(4), LIMIT).pixels.dtype == np.uint16
    deep = cv2.imencode(".jp2", CAT.astype(np.uint16) * 257)[1].tobytes()
    assert decode(deep, LIMIT).notes == ("reduced to 8 bits from 16",)
    dark = decode(cv2.imencode(".png", np.full((4, 4), 4095, np.uint16))[1].tobytes(), LIMIT)
    shallow = Encoder(format="jpeg").fitted(dark)
    assert shallow.notes == ("reduced to 8 bits from 16 (its brightest value is 4,095 of 65,535)",)


def animated(kind: str, frames: int) -> bytes:
    images = [Image.fromarray(np.roll(CAT, 5 * n, axis=1)) for n in range(frames)]
    return encoded(kind, images[0], save_all=True, append_images=images[1:])


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_taken_and_the_rest_noted(kind):
    picture = decode(animated(kind, 3), LIMIT)
    assert picture.notes == ("first of 3 frames",)
    assert np.abs(picture.pixels.astype(int) - CAT).mean() < 8
    assert decode(animated(kind, 1), LIMIT).notes == ()


def test_what_lies_beside_a_jpeg_is_noted():
    assert decode(animated("MPO", 2), LIMIT).notes == ("first of 2 pictures",)
    gain = segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version="1.0"/>')
    assert decode(JPEG[:2] + gain + JPEG[2:], LIMIT).notes == ("its HDR gain map is left out",)
    film = segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x GCamera:MotionPhoto="1"/>')
    assert decode(JPEG[:2] + film + JPEG[2:], LIMIT).notes == ("the film of a motion photo is left out",)


def test_an_icon_gives_its_largest_size_and_a_cube_its_first_face():
    icon = encoded("ICO", PICTURE.resize((64, 64)), sizes=[(16, 16), (32, 32), (64, 64)])
    picture = decode(icon, LIMIT)
    assert (picture.pixels.shape, picture.notes) == ((64, 64, 3), ("the largest of 3 sizes",))
    cube = bytearray(encoded("DDS"))
    cube[113] |= 2
    assert decode(bytes(cube), LIMIT).notes == ("first of 6 frames",)


def test_frames_are_counted_in_bounded_time():
    gif = animated("GIF", 2)
    frame = b"!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    begun = time.process_time()
    assert decode(gif[:-1] + frame * 200_000 + b";", LIMIT).notes == ("first of at least 100000 frames",)
    blocks = gif[:-1] + b"!\xfe" + b"\1x" * 5_000_000
    assert decode(blocks, LIMIT).notes == ("first of at least 2 frames",)
    control = chunk(b"fcTL", bytes(26))
    assert decode(with_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), LIMIT).notes == ()
    many = PNG[:33] + chunk(b"acTL", struct.pack(">II", 9, 0)) + PNG[33:-12] + control * 100_000 + PNG[-12:]
    assert decode(many, LIMIT).notes == ("first of 100001 frames",)
    assert time.process_time() - begun < 10


def icon_of(image: bytes, side: int = 16) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, side, side, 0, 0, 1, 32, len(image), 22) + image


def test_sizes_are_checked_before_memory_is_taken():
    huge = png(40_000, 40_000, 8, 0, b"")
    wide = struct.pack("<IiiHHIIiiII", 40, 40_000, 80_000, 1, 32, 0, 0, 0, 0, 0, 0)
    webp = b"RIFF" + struct.pack("<I", 4000) + b"WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff\xff\0\xff\xff\0" + bytes(100)
    bmp = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + wide + bytes(14)
    gif = b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;"
    pnm = b"P6 60000 60000 255\n"
    for file in (huge, icon_of(huge), icon_of(wide), webp, bmp, gif, pnm):
        tracemalloc.start()
        assert refused(file).startswith("too-large: ")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()


def test_an_icon_that_is_larger_than_it_says_is_refused_by_its_own_size():
    assert refused(icon_of(encoded("PNG", Image.new("L", (400, 400)))), 10_000).startswith("too-large: 400 x 400")


def test_a_jpeg_of_thousands_of_passes_is_refused():
    scan = JPEG.index(b"\xff\xda")
    assert refused(JPEG[:scan] + JPEG[scan : scan + 14] * 2000 + JPEG[scan:]).startswith("too-large: 2,001 passes")


def test_a_hundred_million_pixels_of_one_bit_are_read():
    """A small file of many pixels within the limit is no bomb, and takes a byte a pixel once decoded."""
    rows = zlib.compressobj(9)
    packed = b"".join([*(rows.compress(bytes(1251)) for _ in range(10_000)), rows.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 1, 0, 0, 0, 0))
    file = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    assert len(file) < 20_000
    assert decode(file, 100_000_000).pixels.shape == (10_000, 10_000, 1)


def test_only_known_readers_are_asked():
    """PostScript, FITS and others would start programs or take anything for an image."""
    assert refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n").startswith("not-an-image: PostScript")
    assert refused(encoded("PCX")).startswith("not-an-image: ")
    assert refused(encoded("SGI")).startswith("unsupported: SGI")
    assert PngImagePlugin.MAX_TEXT_CHUNK <= 1 << 20


@pytest.mark.parametrize(("file", "said"), [
    (JPEG[:2] + segment(0xFE, b"") * 100_000 + JPEG[2:], "corrupt: more than 1,024 segments"),
    (JPEG[:2] + segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 1500 + JPEG[2:], "corrupt: more than 1,024 segments"),
    (b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1x" * 5_000_000, "corrupt: more than 100,000 blocks"),
    (encoded("JPEG2000")[:12] + (struct.pack(">I", 8) + b"free") * 1_000_000, "corrupt: more than 1,000 boxes"),
    (b"P6 #" + b"x" * 50_000_000 + b"\n1 1 255\n\0\0\0", "corrupt: its size isn't said"),
    (PNG[:33] + chunk(b"teSt", b"") * 1_100_000 + PNG[33:], "corrupt: more than 1,000,000 chunks"),
], ids=["segments", "exif", "blocks", "boxes", "comment", "chunks"])  # fmt: skip
def test_headers_without_end_are_refused_in_little_time(file, said):
    begun = time.process_time()
    assert refused(file).startswith(said)
    assert time.process_time() - begun < 4


def test_exif_that_would_unpack_to_gigabytes_is_not_looked_into():
    values = 30_000_000
    body = b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 34665, 4, 1, 26) + bytes(4)
    body += struct.pack("<H", 1) + struct.pack("<HHII", 0x9000, 3, values, 44) + bytes(4) + bytes(2 * values)
    tracemalloc.start()
    assert decode(with_chunk(b"eXIf", body), LIMIT).exif is None
    assert tracemalloc.get_traced_memory()[1] < 4 * len(body)
    tracemalloc.stop()
