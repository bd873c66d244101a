"""Encoding: lossless formats lose nothing at any depth, metadata follows the policy, results say what made them."""

import io
import struct
import zlib
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps, PngImagePlugin
from skimage import data

from recast.pipeline.images.decode import decode
from recast.pipeline.images.embedded import SOURCE_TYPE, with_provenance
from recast.pipeline.images.encode import Encoder
from recast.pipeline.images.pictures import Picture

LIMIT = 10_000_000
CAT = data.chelsea()[:60, :90]
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="the original"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
FORMATS = ("png", "jpeg", "webp")


def profile(space: bytes, length: int = 3000) -> bytes:
    return (b"\0" * 16 + space + bytes(range(256)) * (length // 256 + 1))[:length]


def laden(kind: str) -> bytes:
    """A photograph with everything a camera puts in: profile, EXIF with a thumbnail and a name, XMP, orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "SECRET-ARTIST"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "SECRET-GPS"
    buffer = io.BytesIO()
    more = {"xmp": XMP}
    if kind == "PNG":
        more = {"pnginfo": PngImagePlugin.PngInfo()}
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    Image.fromarray(CAT).save(buffer, kind, icc_profile=profile(b"RGB "), exif=exif.tobytes(), **more)
    return buffer.getvalue()


def opened(file: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(file))
    image.load()
    return image


@settings(deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.sampled_from([np.uint8, np.uint16]),
    st.booleans(),
    st.integers(0, 9),
)
def test_png_gives_every_pixel_back_at_every_depth(height, width, channels, depth, translucent, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(depth).max + 1, (height, width, channels), depth)
    alpha = rng.integers(0, 255, (height, width), np.uint8) if translucent else None
    given_picture = Picture(pixels=pixels, alpha=alpha)
    encoder = Encoder()
    file = encoder.encode(given_picture)
    back = decode(file, LIMIT)
    assert back.pixels.dtype == depth
    expected = pixels if channels == back.pixels.shape[2] else pixels.repeat(3, axis=2)
    assert np.array_equal(back.pixels, expected)
    assert (back.alpha is None) == (alpha is None)
    if alpha is not None:
        assert np.array_equal(back.alpha, alpha)
    assert encoder.channels(given_picture) == (3 if back.pixels.shape[2] == 3 else 1) + translucent


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_of_colour_are_read_as_sixteen(suffix):
    """Pillow alone would give 8; what another library wrote comes back whole."""
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), np.uint16)
    file = cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes()
    picture = decode(file, LIMIT)
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, pixels)
    shallow = Encoder(format="webp").fitted(picture)
    assert shallow.pixels.dtype == np.uint8
    assert shallow.notes == ("reduced to 8 bits from 16",)


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_decode_to_what_pillow_makes_of_them(quality, mode):
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).convert(mode).save(buffer, "JPEG", quality=quality)
    expected = np.asarray(opened(buffer.getvalue()))
    got = decode(buffer.getvalue(), LIMIT).pixels
    assert np.array_equal(got[..., 0] if mode == "L" else got, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for kind in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(CAT).save(buffer, kind, exif=exif.tobytes())
        expected = np.asarray(ImageOps.exif_transpose(opened(buffer.getvalue())))
        assert np.array_equal(decode(buffer.getvalue(), LIMIT).pixels, expected)


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP"])
def test_metadata_follows_the_policy(source, output):
    picture = decode(laden(source), LIMIT)
    files = {p: Encoder(format=output, metadata=p).encode(picture) for p in ("keep", "safe", "strip")}
    assert opened(files["keep"]).info["icc_profile"] == profile(b"RGB ")
    assert opened(files["safe"]).info["icc_profile"] == profile(b"RGB ")
    assert "icc_profile" not in opened(files["strip"]).info
    kept = opened(files["keep"]).getexif()
    assert kept[ExifTags.Base.Artist] == "SECRET-ARTIST"
    assert ExifTags.Base.Orientation not in kept
    assert b"the original" in opened(files["keep"]).info["xmp"]
    for policy in ("safe", "strip"):
        assert not opened(files[policy]).getexif()
        for secret in (b"SECRET", b"the original", b"Exif"):
            assert secret not in files[policy]


@pytest.mark.parametrize("output", FORMATS)
def test_results_say_that_a_machine_made_them_unless_told_not_to(output):
    picture = decode(laden("JPEG"), LIMIT)
    for policy in ("keep", "safe", "strip"):
        xmp = opened(Encoder(format=output, metadata=policy).encode(picture)).info["xmp"]
        assert SOURCE_TYPE.encode() in xmp
        types = [v for e in ElementTree.fromstring(xmp).iter() for k, v in e.items() if k.endswith("DigitalSourceType")]
        assert types == [SOURCE_TYPE]
    assert "xmp" not in opened(Encoder(format=output, provenance=False).encode(picture)).info


def test_provenance_joins_what_an_xmp_packet_said():
    joined = with_provenance(XMP)
    assert joined.count(b"rdf:Description") == 2
    assert b"the original" in joined
    assert SOURCE_TYPE.encode() in with_provenance(b"not xml at all")


def test_a_profile_of_other_colours_is_not_passed_on():
    grey = Picture(pixels=CAT[..., :1].copy(), icc=profile(b"RGB "))
    assert "icc_profile" not in opened(Encoder().encode(grey)).info
    colour = Picture(pixels=CAT.copy(), icc=profile(b"RGB ", length=200_000))
    for output in FORMATS:
        assert opened(Encoder(format=output).encode(colour)).info["icc_profile"] == colour.icc


def test_a_png_is_sound_to_the_last_chunk():
    file = Encoder(metadata="keep").encode(decode(laden("PNG"), LIMIT))
    kinds, at = [], 8
    while at < len(file):
        length, kind = struct.unpack(">I4s", file[at : at + 8])
        body = file[at + 4 : at + 8 + length]
        assert struct.unpack(">I", file[at + 8 + length : at + 12 + length])[0] == zlib.crc32(body)
        kinds.append(kind)
        at += 12 + length
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert {b"iCCP", b"eXIf", b"iTXt"} <= set(kinds[: kinds.index(b"IDAT")])


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(1, 100), st.sampled_from([1, 3]), st.integers(1, 30), st.integers(1, 30))
def test_the_same_pixels_make_the_same_bytes(output, quality, channels, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    encoder = Encoder(format=output, quality=quality)
    first, second = (encoder.encode(Picture(pixels=pixels.copy())) for _ in range(2))
    assert first == second
    image = opened(first)
    assert image.size == (width, height)
    assert len(image.getbands()) == encoder.channels(Picture(pixels=pixels))
