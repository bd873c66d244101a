"""Decoding: images look as a person expects, and bad bytes get a kind, never a crash."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from recast.pipeline.images.decode import decode
from recast.pipeline.images.encode import Encoder
from recast.pipeline.input_errors import InputError

LIMIT = 10_000_000
KINDS = {"empty", "not-an-image", "unsupported", "too-large", "truncated", "corrupt"}
CAT = Image.fromarray(data.chelsea()[:60, :90])


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def kind_of(raw: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(InputError) as caught:
        decode(raw, limit)
    return caught.value.kind


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_lossless_formats_give_their_pixels(kind):
    raw = encoded(CAT, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode(raw, LIMIT).pixels, np.asarray(CAT))


def test_exif_orientation_is_applied_and_not_passed_on():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Operation"
    picture = decode(encoded(CAT, "PNG", exif=exif), LIMIT)
    assert np.array_equal(picture.pixels, np.asarray(CAT.transpose(Image.Transpose.ROTATE_270)))
    kept = Image.open(io.BytesIO(Encoder(metadata="keep").encode(picture))).getexif()
    assert kept.get(0x010F) == "Operation"
    assert 0x0112 not in kept


def test_palette_cmyk_and_binary_become_rgb_or_grey():
    assert decode(encoded(CAT.convert("P"), "PNG"), LIMIT).pixels.shape == (60, 90, 3)
    cmyk = decode(encoded(CAT.convert("CMYK"), "TIFF"), LIMIT).pixels
    assert np.abs(cmyk.astype(int) - np.asarray(CAT)).mean() < 3
    assert decode(encoded(CAT.convert("1"), "PNG"), LIMIT).pixels.shape == (60, 90, 1)


def test_alpha_is_kept_beside_the_pixels_and_laid_on_white_for_jpeg():
    image = CAT.convert("RGBA")
    image.putalpha(0)
    picture = decode(encoded(image, "PNG"), LIMIT)
    assert picture.alpha is not None
    assert picture.alpha.max() == 0
    assert Image.open(io.BytesIO(Encoder(format="png").encode(picture))).mode == "RGBA"
    flat = np.asarray(Image.open(io.BytesIO(Encoder(format="jpeg").encode(picture))))
    assert flat.min() >= 254


def test_opaque_alpha_is_no_alpha():
    assert decode(encoded(CAT.convert("RGBA"), "PNG"), LIMIT).alpha is None


def test_dark_sixteen_bit_is_dark_not_misread():
    values = np.full((4, 4), 200, np.uint16)
    picture = decode(encoded(Image.fromarray(values), "PNG"), LIMIT)
    assert (picture.pixels.dtype, picture.pixels.max()) == (np.uint16, 200)
    shallow = Encoder(format="jpeg").fitted(picture)
    assert shallow.pixels.max() == 0
    assert any("8 bits" in note for note in shallow.notes)


def test_an_animation_gives_its_first_frame_and_says_so():
    frames = [CAT.convert("P"), CAT.rotate(180).convert("P"), CAT.convert("P")]
    raw = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture = decode(raw, LIMIT)
    assert picture.notes == ("first of 3 frames",)
    assert np.array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")))


def test_bad_bytes_have_their_kinds():
    png, jpeg = encoded(CAT, "PNG"), encoded(CAT, "JPEG")
    assert kind_of(b"") == "empty"
    assert kind_of(b"hello, I am a text file\n" * 10) == "not-an-image"
    assert kind_of(jpeg[: len(jpeg) // 2]) == "truncated"
    assert kind_of(png[: len(png) // 2]) == "truncated"
    assert kind_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n") == "not-an-image"


def test_absurd_dimensions_are_refused_from_the_header():
    header = bytearray(encoded(Image.new("RGB", (8, 8)), "BMP"))
    header[18:26] = (60_000).to_bytes(4, "little") + (60_000).to_bytes(4, "little")
    assert kind_of(bytes(header)) == "too-large"
    assert kind_of(encoded(CAT, "PNG"), limit=100) == "too-large"


def test_a_result_too_large_for_its_format_is_a_fault():
    wide = decode(encoded(Image.new("L", (17_000, 2)), "PNG"), LIMIT)
    with pytest.raises(InputError, match="too-large: 17,000 x 2 px; webp holds 16,383"):
        Encoder(format="webp").encode(wide)


def test_colour_profile_is_kept_unless_stripped():
    profile = b"not really a profile, but bytes to carry"
    picture = decode(encoded(CAT, "PNG", icc_profile=profile), LIMIT)
    for policy, kept in (("keep", profile), ("safe", profile), ("strip", None)):
        image = Image.open(io.BytesIO(Encoder(metadata=policy).encode(picture)))
        assert image.info.get("icc_profile") == kept


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
    st.floats(0, 1),
)
def test_mutated_images_decode_or_fail_with_a_known_kind(kind, edits, keep):
    raw = bytearray(encoded(CAT, kind))
    for place, noise in edits:
        start = int(place * len(raw))
        raw[start : start + len(noise)] = noise
    raw = raw[: max(int(keep * 1.5 * len(raw)), 1)]
    try:
        picture = decode(bytes(raw), LIMIT)
    except InputError as fault:
        assert fault.kind in KINDS
    else:
        assert picture.pixels.dtype in (np.uint8, np.uint16)
        assert picture.pixels.ndim == 3
