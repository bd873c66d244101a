"""TIFF: numbers of every kind keep their own range or are refused, and nothing is left out without a note."""

import io
import struct
import time

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from recast.pipeline.images.decode import decode
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError

LIMIT = 10_000_000
CAT = data.chelsea()[60:124, 120:216]
WIDE = CAT.astype(np.int64)
GREY = CAT.mean(axis=2)


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "rgb" if pixels.ndim == 3 else "minisblack"} | options))
    return file.getvalue()


def refused(file: bytes) -> str:
    with pytest.raises(InputError) as caught:
        decode(file, LIMIT)
    return str(caught.value)


def likeness(picture: Picture, truth: np.ndarray) -> float:
    """Correlation with what it should look like."""
    return float(np.corrcoef(picture.pixels.reshape(-1).astype(float), truth.reshape(-1).astype(float))[0, 1])


def spread(picture: Picture) -> float:
    """How much of its depth's range a picture uses."""
    return float(np.ptp(picture.pixels.astype(float))) / np.iinfo(picture.pixels.dtype).max


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("pixels", [GREY / 255, CAT / 255])
def test_floats_from_0_to_1_are_read_at_every_precision_in_grey_and_colour(dtype, pixels):
    picture = decode(tiff(pixels.astype(dtype)), LIMIT)
    expected = np.rint(pixels.astype(dtype).astype(float) * 255)
    assert np.abs(picture.pixels.squeeze().astype(int) - expected).max() <= 1
    assert picture.notes == ("reduced to 8 bits from floating point",)


@pytest.mark.parametrize(("odd", "note"), [
    (np.nan, "1 values that are not finite shown black"), (np.inf, "1 values that are not finite shown black"),
    (1.0001, "to 1.0001, taken as 0 to 1"), (1e6, "to 1e+06, taken as 0 to 1"),
    (-0.01, "taken as 0 to 1; 1 values outside of it clipped"),
])  # fmt: skip
def test_one_odd_value_changes_no_other(odd, note):
    values = (GREY / 255).astype(np.float32)
    plain = decode(tiff(values), LIMIT)
    values[0, 0] = odd
    picture = decode(tiff(values), LIMIT)
    assert np.array_equal(picture.pixels.reshape(-1)[1:], plain.pixels.reshape(-1)[1:])
    assert note in "; ".join(picture.notes)


@pytest.mark.parametrize(("values", "told"), [
    ((300 + GREY / 255 * 2000).astype(np.float32), "from"),
    ((GREY / 255 - 0.5).astype(np.float32), "from"),
    ((GREY * 4 - 500).astype(np.int16), "16-bit integers from -"),
    ((GREY / 2 - 64).astype(np.int8), "8-bit integers from -"),
    ((GREY * 100_000).astype(np.int32), "32-bit integers from 3"),
    ((GREY * 16_000_000).astype(np.uint32), "32-bit integers from 5"),
    ((GREY * 100_000 - 9e6).astype(np.int32), "32-bit integers from -"),
    ((GREY * 1e12).astype(np.int64), "64-bit integers from 3"),
])  # fmt: skip
def test_values_of_other_ranges_are_mapped_by_their_own_and_the_note_states_it(values, told):
    picture = decode(tiff(values), LIMIT)
    assert likeness(picture, values) > 0.999
    assert spread(picture) == 1
    assert told in picture.notes[0]


def test_a_few_outliers_decide_no_range():
    values = (GREY * 100_000).astype(np.int32)
    values[0, :3] = 2**31 - 1
    picture = decode(tiff(values), LIMIT)
    assert likeness(picture, np.minimum(values, 25_500_000)) > 0.99
    assert "values outside of it clipped" in picture.notes[0]


def test_values_without_data_are_named_and_decide_no_range():
    values = (300 + GREY / 255 * 2000).astype(np.float32)
    values[:20] = -9999
    picture = decode(tiff(values, extratags=[(42113, "s", 0, "-9999", True)]), LIMIT)
    assert likeness(Picture(pixels=picture.pixels[20:]), values[20:]) > 0.999
    assert f"{20 * 96:,} values without data (-9999) shown black" in picture.notes
    assert picture.pixels[:20].max() == 0


def test_integers_that_fit_are_kept_exactly():
    whole = (GREY * 200).astype(np.int32)
    assert np.array_equal(decode(tiff(whole), LIMIT).pixels[..., 0], whole)
    assert np.array_equal(decode(tiff(CAT.astype(np.int32)), LIMIT).pixels, CAT)
    half = (whole // 2).astype(np.int16)
    assert np.array_equal(decode(tiff(half), LIMIT).pixels[..., 0], half)
    assert np.array_equal(decode(tiff(CAT.astype(np.float32)), LIMIT).pixels, CAT)


def test_nothing_finite_is_refused():
    assert "no" in refused(tiff(np.full((8, 8), np.nan, np.float32)))
    assert refused(tiff(np.ones((8, 8), np.complex64))).startswith("unsupported: a TIFF of mixed or complex samples")


@pytest.mark.parametrize("options", [
    {}, {"byteorder": ">"}, {"bigtiff": True}, {"tile": (32, 48)}, {"rowsperstrip": 7}, {"planarconfig": "separate"},
    {"planarconfig": "separate", "tile": (16, 16)},
])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int32])
def test_every_layout_gives_the_same_pixels(options, dtype):
    values = (WIDE * (1 / 255 if dtype is np.float32 else 257)).astype(dtype)
    if options.get("planarconfig"):
        file = tiff(np.ascontiguousarray(values.transpose(2, 0, 1)), **options)
    else:
        file = tiff(values, **options)
    assert np.array_equal(decode(file, LIMIT).pixels, decode(tiff(values), LIMIT).pixels)
    assert likeness(decode(file, LIMIT), CAT) > 0.999


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_compressed_numbers_are_those_of_plain_ones(compression, dtype):
    """What Pillow's libtiff compresses is read back without Pillow's clipping."""
    values = (GREY * 1000 - 7000).astype(dtype)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF", compression=compression)
    assert np.array_equal(decode(file.getvalue(), LIMIT).pixels, decode(tiff(values), LIMIT).pixels)


@pytest.mark.parametrize(("dtype", "predictor"), [(np.uint16, 2), (np.float32, 3), (np.float16, 1)])
def test_differences_from_the_neighbour_are_summed_up(dtype, predictor):
    """OpenCV's writer uses libtiff's predictors, for integers and for floating point."""
    values = (WIDE * (257 if dtype is np.uint16 else 1 / 255)).astype(dtype)
    stored = values[..., ::-1]
    if dtype is np.float16:
        file = tiff(values)
    else:
        options = [cv2.IMWRITE_TIFF_COMPRESSION, 8, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
        file = cv2.imencode(".tiff", stored, options)[1].tobytes()
        assert tifffile.TiffFile(io.BytesIO(file)).pages[0].predictor == predictor
    assert np.array_equal(decode(file, LIMIT).pixels, decode(tiff(values), LIMIT).pixels)


def test_extra_bands_are_left_out_with_a_note_or_refused():
    near = GREY.astype(np.uint8)[..., None]
    bands4 = np.concatenate([CAT, near], axis=2)
    picture = decode(tiff(bands4, extrasamples=["unspecified"]), LIMIT)
    assert np.array_equal(picture.pixels, CAT)
    assert (picture.alpha, picture.notes) == (None, ("the first 3 of 4 bands",))
    deep = decode(tiff(bands4.astype(np.uint16) * 257, extrasamples=["unspecified"]), LIMIT)
    assert np.array_equal(deep.pixels, CAT.astype(np.uint16) * 257)
    assert (deep.alpha, deep.notes) == (None, ("the first 3 of 4 bands",))
    two = decode(tiff(np.dstack([near, near]), photometric="minisblack", planarconfig="contig"), LIMIT)
    assert (two.pixels.shape, two.notes) == ((64, 96, 1), ("the first 1 of 2 bands",))
    six = np.dstack([CAT, CAT])
    assert decode(tiff(six, extrasamples=["unspecified"] * 3), LIMIT).notes == ("the first 3 of 6 bands",)
    many = tiff(six, photometric="minisblack", planarconfig="contig")
    assert refused(many).startswith("unsupported: a TIFF of 6 bands of which it isn't said that they are RGB")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_opacity_is_opacity_whether_multiplied_in_or_not(depth, kind):
    alpha = np.broadcast_to(np.linspace(40, 255, 96).astype(np.uint8), (64, 96))
    share = alpha[..., None] / 255 if kind == "assocalpha" else 1
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[depth]
    values = np.dstack([CAT / 255 * share, alpha / 255]) * top
    values = values.astype(depth) if depth is np.float32 else np.rint(values).astype(depth)
    picture = decode(tiff(values, extrasamples=[kind]), LIMIT)
    seen = picture.pixels >> 8 if depth is np.uint16 else picture.pixels
    assert np.abs(seen.astype(int) - CAT).max() <= (8 if depth is np.uint8 and kind == "assocalpha" else 2)
    assert np.abs(picture.alpha.astype(int) - alpha).max() <= 1


def test_white_is_zero_at_every_depth():
    for values in (GREY.astype(np.uint8), (GREY * 257).astype(np.uint16), (GREY / 255).astype(np.float32)):
        plain, turned = decode(tiff(values), LIMIT), decode(tiff(values, photometric="miniswhite"), LIMIT)
        assert np.array_equal(turned.pixels, np.iinfo(plain.pixels.dtype).max - plain.pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_stretched_to_eight(bits):
    top = 2**bits - 1
    levels = np.arange(64, dtype=np.uint8).reshape(4, 16) % (top + 1)
    packed = np.packbits(np.unpackbits(levels[..., None], axis=2)[..., 8 - bits :].reshape(4, -1), axis=1)
    tags = {256: 16, 257: 4, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: packed.size}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    at = 8 + packed.size
    file = b"II*\0" + struct.pack("<I", at) + packed.tobytes() + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert np.array_equal(decode(file, LIMIT).pixels[..., 0], levels.astype(int) * 255 // top)


def test_twelve_bits_fill_their_range():
    values = np.arange(0, 4096, 64, dtype=np.uint16).reshape(8, 8)
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(64, 2), axis=1)[:, 4:].reshape(8, -1)
    strip = np.packbits(bits, axis=1).tobytes()
    tags = {256: 8, 257: 8, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: len(strip)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file = b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert np.array_equal(decode(file, LIMIT).pixels[..., 0], (values << 4) | (values >> 8))


def test_print_colours_become_rgb_and_their_extra_bands_a_note():
    cmyk = np.asarray(Image.fromarray(CAT).convert("CMYK"))
    plain = decode(tiff(cmyk, photometric="separated"), LIMIT)
    assert np.abs(plain.pixels.astype(int) - CAT).mean() < 3
    spot = tiff(np.dstack([cmyk, cmyk[..., :1]]), photometric="separated", extrasamples=["unspecified"])
    assert np.array_equal(decode(spot, LIMIT).pixels, plain.pixels)
    assert decode(spot, LIMIT).notes == ("the first 4 of 5 bands",)
    deep = decode(tiff(cmyk.astype(np.uint16) * 257, photometric="separated"), LIMIT)
    assert deep.notes == ("reduced to 8 bits from 16",)
    assert np.abs(deep.pixels.astype(int) - CAT).mean() < 3
    with_alpha = tiff(np.dstack([cmyk, cmyk[..., :1]]), photometric="separated", extrasamples=["unassalpha"])
    assert refused(with_alpha).startswith("unsupported: ")


def test_lab_becomes_rgb_or_is_refused():
    lab = cv2.cvtColor(CAT, cv2.COLOR_RGB2LAB)
    file = io.BytesIO()
    signed = lab.copy()
    signed[..., 1:] ^= 128
    Image.frombytes("LAB", (96, 64), signed.tobytes()).save(file, "TIFF")
    assert np.abs(decode(file.getvalue(), LIMIT).pixels.astype(int) - CAT).mean() < 6
    assert refused(tiff(CAT.astype(np.uint16) * 257, photometric="cielab")).startswith("unsupported: ")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_depth_ends_upright(orientation, dtype):
    scale = {np.uint8: 1, np.uint16: 257, np.float32: np.float32(1 / 255)}[dtype]
    picture = decode(tiff((WIDE * scale).astype(dtype), extratags=[(274, "H", 1, orientation, True)]), LIMIT)
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(CAT).save(file, "PNG", exif=exif)
    seen = picture.pixels >> 8 if dtype is np.uint16 else picture.pixels
    assert np.array_equal(seen, decode(file.getvalue(), LIMIT).pixels)


def raw(photometric: str = "cfa", **tags) -> bytes:
    """As cameras write: a small picture first, the sensor's values in a directory below it."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(CAT, photometric="rgb", subifds=1, subfiletype=1, **tags)
        writer.write(CAT[..., 1].repeat(4, 0).repeat(4, 1).astype(np.uint16) * 16, photometric=photometric)
    return file.getvalue()


def test_camera_raw_is_refused_by_name_and_no_thumbnail_passes_for_a_picture():
    dng = [(50706, "B", 4, b"\1\4\0\0", True), (271, "s", 0, "Pentax", True)]
    assert refused(raw(extratags=dng)).startswith("unsupported: camera raw (DNG of Pentax)")
    assert refused(raw(extratags=[(271, "s", 0, "NIKON CORPORATION", True)])).startswith(
        "unsupported: camera raw (of NIKON CORPORATION)"
    )
    assert refused(raw()).startswith("unsupported: camera raw")
    assert refused(raw("minisblack")).startswith("unsupported: its first picture is a thumbnail")
    cr2 = bytearray(tiff(CAT))
    assert cr2[:4] == b"II*\0"
    cr2 = bytes(cr2[:4]) + struct.pack("<I", struct.unpack("<I", cr2[4:8])[0]) + b"CR\2\0" + bytes(cr2[12:])
    assert refused(cr2).startswith("unsupported: camera raw (Canon CR2)")
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(CAT[::4, ::4].copy(), photometric="rgb", subfiletype=1)
        writer.write(CAT, photometric="rgb")
    assert refused(file.getvalue()).startswith("unsupported: its first picture is a thumbnail of one of 96 x 64 pixels")


def test_smaller_versions_of_the_picture_are_no_further_frames():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(CAT, photometric="rgb", subifds=1)
        writer.write(CAT[::2, ::2].copy(), photometric="rgb", subfiletype=1)
        writer.write(CAT[::4, ::4].copy(), photometric="rgb", subfiletype=1)
    picture = decode(file.getvalue(), LIMIT)
    assert np.array_equal(picture.pixels, CAT)
    assert picture.notes == ()


def pages(count: int, loop: bool = False) -> bytes:
    """A TIFF of one pixel in so many pages."""
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    entries = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in tags.items())
    size = len(entries) + 4
    starts = [16 + n * size for n in range(count)]
    nexts = [*starts[1:], starts[0] if loop else 0]
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + b"".join(entries + struct.pack("<I", n) for n in nexts)


def test_pages_are_counted_in_linear_time_up_to_a_limit():
    assert decode(pages(3), LIMIT).notes == ("first of 3 frames",)
    assert decode(pages(2_000), LIMIT).notes == ("first of 2000 frames",)
    assert decode(pages(20, loop=True), LIMIT).notes == ("first of 20 frames",)
    begun = time.process_time()
    assert decode(pages(200_000), LIMIT).notes == ("first of at least 100000 frames",)
    assert time.process_time() - begun < 2


def test_what_is_declared_is_bounded_before_memory_is_taken():
    tags = {256: 16, 257: 16, 258: 16, 259: 1, 262: 1, 277: 1, 322: 1 << 20, 323: 1 << 20, 324: 8, 325: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert refused(file).startswith("corrupt: its tiles are said to have 1,099,511,627,776 pixels")
    for size in ((100_000, 100_000), (2**31, 1), (1, 2**31)):
        huge = {256: size[0], 257: size[1], 258: 32, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 8, 339: 3}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in huge.items())
        file = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(huge)) + entries + bytes(4)
        assert refused(file).startswith("too-large: ")
    assert refused(tiff((CAT / 255).astype(np.float32))[: 64 * 96]).startswith(("truncated: ", "corrupt: "))


def test_a_compression_that_is_not_read_is_named():
    file = bytearray(tiff(CAT))
    at = file.index(struct.pack("<HHI", 259, 3, 1)) + 8
    file[at : at + 2] = struct.pack("<H", 33005)
    assert refused(bytes(file)).startswith("unsupported: a TIFF with compression 33005")
