"""Metadata that is kept is true of the file that is written: its size, its colours; nothing of another picture."""

import io

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational
from skimage import data

from recast.pipeline.images.decode import decode
from recast.pipeline.images.embedded import SOURCE_TYPE
from recast.pipeline.images.encode import Encoder
from recast.pipeline.images.metadata import carried_xmp
from recast.pipeline.images.pictures import Picture

LIMIT = 10_000_000
CAT = data.chelsea()[60:124, 120:216]
FORMATS = ("png", "jpeg", "webp")
EXIF = ExifTags.IFD.Exif
XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/"
 xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:mwg="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:dcterms="http://purl.org/dc/terms/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 tiff:Make="Maker" tiff:Orientation="6" tiff:ImageWidth="4000" exif:PixelXDimension="4000" exif:FNumber="28/10"
 crs:HasCrop="True" crs:CropTop="0.1" hdrgm:Version="1.0" dc:source="the original" photoshop:City="Bern"
 photoshop:ColorMode="4" dcterms:provenance="https://example.org/manifest"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
 xmpMM:InstanceID="xmp.iid:1">
<xmp:Thumbnails><rdf:Alt><rdf:li xmpGImg:image="OLDPICTURE"/></rdf:Alt></xmp:Thumbnails>
<xmpMM:History><rdf:Seq><rdf:li>cropped</rdf:li></rdf:Seq></xmpMM:History>
<mwg:Regions><rdf:Bag><rdf:li>a face here</rdf:li></rdf:Bag></mwg:Regions>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
UNTRUE = [
    b"Orientation", b"ImageWidth", b"PixelXDimension", b"HasCrop", b"CropTop", b"Version=", b"OLDPICTURE", b"cropped",
    b"a face here", b"example.org", b"digitalCapture", b"InstanceID=", b"ColorMode=",
]  # fmt: skip


def taken(kind: str = "JPEG", orientation: int = 6) -> bytes:
    """As a camera and an editor leave it: size, place of the subject, thumbnail, maker's note, resolution, XMP."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = orientation, "Operation"
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = IFDRational(300)
    exif[ExifTags.Base.ResolutionUnit] = 2
    exif[ExifTags.Base.ImageWidth], exif[ExifTags.Base.ImageLength] = 4000, 3000
    exif.get_ifd(EXIF).update({
        0xA002: 4000, 0xA003: 3000, 0x9214: (2000, 1500, 10, 10), 0x927C: b"MAKERNOTE" * 5, 0xA301: b"\1",
        0x829D: IFDRational(28, 10), 0xA420: "UNIQUE", 0xA20E: IFDRational(7000),
    })  # fmt: skip
    exif.get_ifd(ExifTags.IFD.IFD1)[0x201] = 0
    options = {"xmp": XMP, "exif": exif.tobytes()}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options.pop("xmp")
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    file = io.BytesIO()
    Image.fromarray(CAT).save(file, kind, **options)
    return file.getvalue()


def opened(file: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(file))
    image.load()
    return image


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP"])
def test_kept_metadata_is_true_of_an_upscaled_result(source, output):
    picture = decode(taken(source), LIMIT)
    assert picture.pixels.shape == (96, 64, 3)
    larger = picture.with_pixels(picture.pixels.repeat(4, 0).repeat(4, 1), None)
    file = Encoder(format=output, metadata="keep").encode(larger)
    exif = opened(file).getexif()
    camera = exif.get_ifd(EXIF)
    assert (camera[0xA002], camera[0xA003]) == opened(file).size == (256, 384)
    assert exif[ExifTags.Base.XResolution] == exif[ExifTags.Base.YResolution] == 1200
    assert (exif[ExifTags.Base.Make], float(camera[0x829D])) == ("Operation", 2.8)
    gone = {ExifTags.Base.Orientation, ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength} & set(exif)
    assert not gone | ({0x9214, 0x927C, 0xA301, 0xA420, 0xA20E} & set(camera))
    assert not exif.get_ifd(ExifTags.IFD.IFD1)
    xmp = opened(file).info["xmp"]
    assert not [claim for claim in UNTRUE if claim in xmp]
    for said in (b'Make="Maker"', b"the original", b"FNumber", b"Bern", SOURCE_TYPE.encode()):
        assert said in xmp
    for left in (b"MAKERNOTE", b"OLDPICTURE", b"UNIQUE"):
        assert left not in file


def test_metadata_of_a_result_of_the_same_size_keeps_its_resolution():
    file = Encoder(metadata="keep").encode(decode(taken(), LIMIT))
    exif = opened(file).getexif()
    assert (exif[ExifTags.Base.XResolution], exif.get_ifd(EXIF)[0xA002]) == (300, 64)


def test_how_a_tiff_was_stored_is_not_said_of_its_result():
    file = io.BytesIO()
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (37724, "B", 6, b"LAYERS", True),
        (315, "s", 0, "An Artist", True),
    ]
    tifffile.imwrite(file, CAT.astype(np.uint16) * 257, photometric="rgb", description="ImageJ=1.53", extratags=tags)
    for raw in (file.getvalue(), _eight_bits(tags)):
        exif = opened(Encoder(metadata="keep").encode(decode(raw, LIMIT))).getexif()
        assert exif[ExifTags.Base.Artist] == "An Artist"
        assert not set(exif) - {269, 282, 283, 296, 305, 306, 315, int(EXIF)}


def _eight_bits(tags: list) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, CAT, photometric="rgb", compression=None, extratags=tags, metadata=None)
    return file.getvalue()


def test_an_xmp_packet_that_claims_nothing_untrue_is_kept_byte_for_byte_and_what_is_no_packet_is_not():
    sound = XMP[: XMP.index(b"tiff:Make")] + b'dc:source="the original"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    assert carried_xmp(sound) == sound
    assert carried_xmp(sound.decode()) == sound
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
    for bad in (b"not xml", b"<open>", bomb, b"<a>" * 5_000 + b"</a>" * 5_000 + b"x", b"\xff\xfe<", None, b""):
        assert carried_xmp(bad) is None


def profile(space: str) -> bytes:
    if space == "GRAY":
        data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        data[16:20] = b"GRAY"
        return bytes(data)
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(("output", "alpha", "kept"), [
    ("png", False, True), ("jpeg", False, True), ("webp", False, False), ("png", True, False), ("webp", True, False),
    ("jpeg", True, True),
])  # fmt: skip
def test_a_grey_profile_goes_with_files_that_are_written_grey_alone(output, alpha, kept):
    grey = Picture(
        pixels=CAT[..., :1].copy(), alpha=np.full(CAT.shape[:2], 9, np.uint8) if alpha else None, icc=profile("GRAY")
    )
    assert ("icc_profile" in opened(Encoder(format=output).encode(grey)).info) == kept
    colour = Picture(pixels=CAT.copy(), alpha=grey.alpha, icc=profile("RGB "))
    assert "icc_profile" in opened(Encoder(format=output).encode(colour)).info


def test_colours_that_were_converted_carry_no_profile_of_the_old_ones():
    file = io.BytesIO()
    exif = Image.Exif()
    exif.get_ifd(EXIF)[0xA001] = 2
    cmyk = Image.fromarray(CAT).convert("CMYK")
    cmyk.save(file, "JPEG", icc_profile=b"\0" * 16 + b"CMYK" + bytes(108), exif=exif)
    picture = decode(file.getvalue(), LIMIT)
    assert picture.icc is None
    assert 0xA001 not in opened(Encoder(metadata="keep").encode(picture)).getexif().get_ifd(EXIF)


@pytest.mark.parametrize("metadata", ["keep", "safe", "strip"])
@pytest.mark.parametrize("output", FORMATS)
def test_signed_claims_second_pictures_and_films_of_the_input_are_in_no_result(output, metadata):
    jpeg = taken()
    jumbf = b"\xff\xeb\0\x22JP\0\1\0\0\0\1\0\0\0\x18jumbC2PACLAIM0123"
    index = b"\xff\xe2\0\x10MPF\0II*\0\x08\0\0\0\0\0"
    raw = jpeg[:2] + jumbf + index + jpeg[2:] + b"\0\0\0\x18ftypmp42" + b"SECRETFILM"
    file = Encoder(format=output, metadata=metadata).encode(decode(raw, LIMIT))
    for mark in (b"C2PA", b"jumb", b"MPF\0", b"ftypmp42", b"SECRETFILM"):
        assert mark not in file


MARK = b"SECRET-MARK"


def marked(kind: str) -> bytes:
    """A file with the mark wherever its format has room for words."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = exif[ExifTags.Base.ImageDescription] = MARK.decode()
    file, image = io.BytesIO(), Image.fromarray(CAT)
    match kind:
        case "PNG":
            info = PngImagePlugin.PngInfo()
            info.add_text("Comment", MARK.decode())
            info.add_itxt("Title", MARK.decode())
            info.add_itxt("XML:com.adobe.xmp", MARK.decode())
            image.save(file, kind, pnginfo=info, exif=exif)
        case "JPEG":
            image.save(file, kind, comment=MARK, exif=exif, xmp=MARK)
        case "TIFF":
            image.save(file, kind, description=MARK.decode(), software=MARK.decode(), artist=MARK.decode())
        case "WEBP":
            image.save(file, kind, exif=exif, xmp=MARK)
        case "GIF":
            image.save(file, kind, comment=MARK)
        case _:
            image.save(file, kind, exif=exif, xmp=MARK)
    assert MARK in file.getvalue()
    return file.getvalue() + MARK


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_no_word_of_a_file_is_in_its_result_unless_it_is_to_be_kept(kind):
    picture = decode(marked(kind), LIMIT)
    for output in FORMATS:
        for metadata in ("safe", "strip"):
            assert MARK not in Encoder(format=output, metadata=metadata).encode(picture)
