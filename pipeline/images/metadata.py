"""EXIF and XMP made true of the picture that they go with: what describes other pixels is taken out."""

import math
from collections.abc import Iterator
from xml.dom import minidom

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

MOST_XMP_BYTES = 4 << 20
"""A longer packet is not carried over."""
_EXIF, _GPS = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
_ABOUT_THE_SUBJECT = {
    269, 270, 271, 272, 305, 306, 315, 316, 33432, 18246, 18249, 40091, 40092, 40093, 40094, 40095, 282, 283, 296,
    int(_EXIF), int(_GPS),
}  # fmt: skip
"""Tags of a file's main directory that are carried over: names, texts, dates, ratings, resolution. The others say how
the old file's pixels are stored, or where on earth they lie."""
_WIDTH, _HEIGHT, _COLOUR_SPACE = 0xA002, 0xA003, 0xA001
_OF_OTHER_PIXELS = {
    0x927C, 0x9101, 0x9102, 0x9214, 0xA005, 0xA20E, 0xA20F, 0xA210, 0xA214, 0xA301, 0xA420, 0xA003, 0xA002,
}  # fmt: skip
"""Tags of the camera's directory that are not: the maker's note, which may hold a preview, how components are stored,
places of the subject, pixels per unit of the sensor, that it was photographed directly, the picture's unique name."""
_STORED_AS = ("ImageJ=", "<?xml", "<OME")
"""Descriptions by microscopes' software say how the old file's pixels are stored."""

_TIFF, _EXIF_SPACE = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_UNTRUE_SPACES = {
    "http://ns.adobe.com/camera-raw-settings/1.0/",
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/container/item/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/panorama/",
    "http://ns.google.com/photos/dd/1.0/",
    "http://ns.adobe.com/xmp/note/",
    "http://ns.adobe.com/xap/1.0/g/img/",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.apple.com/pixeldatainfo/1.0/",
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.microsoft.com/photo/1.2/",
    "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
}
"""Develop settings and crops, gain maps, embedded pictures, depth and films, panoramas, regions in the old pixels."""
_TRUE_STILL = {
    _TIFF: {"Make", "Model", "Software", "Artist", "Copyright", "DateTime", "ImageDescription"},
}
"""Only so much of these is carried over."""
_UNTRUE = {
    _EXIF_SPACE: {
        "PixelXDimension", "PixelYDimension", "ColorSpace", "ComponentsConfiguration", "CompressedBitsPerPixel",
        "SubjectArea", "SubjectLocation", "NativeDigest", "MakerNote", "FocalPlaneXResolution",
        "FocalPlaneYResolution", "FocalPlaneResolutionUnit", "SceneType", "ImageUniqueID", "SpatialFrequencyResponse",
    },
    "http://ns.adobe.com/xap/1.0/": {"Thumbnails", "PageInfo"},
    "http://ns.adobe.com/xap/1.0/mm/": {
        "History", "InstanceID", "DocumentID", "RenditionClass", "RenditionParams", "Manifest", "Versions", "VersionID",
        "Ingredients", "Pantry",
    },
    "http://ns.adobe.com/photoshop/1.0/": {"ColorMode", "ICCProfile", "History", "TextLayers", "DocumentAncestors"},
    "http://purl.org/dc/elements/1.1/": {"format"},
    "http://purl.org/dc/terms/": {"provenance"},
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": {"DigitalSourceType", "DigitalSourcefileType", "ImageRegion"},
}  # fmt: skip


def carried_exif(exif: Image.Exif, width: int, height: int, *, converted: bool) -> bytes | None:
    """EXIF of an upright picture of this size: without orientation, thumbnail, and what tells of another file's pixels.

    Args:
        converted: whether its colours are other than the file's, so that a colour space that is named isn't theirs.
    """
    try:
        camera = exif.get_ifd(_EXIF)
        for tag in [tag for tag in exif if tag not in _ABOUT_THE_SUBJECT]:
            del exif[tag]
        if str(exif.get(ExifTags.Base.ImageDescription, "")).startswith(_STORED_AS):
            del exif[ExifTags.Base.ImageDescription]
        for tag in _OF_OTHER_PIXELS | ({_COLOUR_SPACE} if converted else set()):
            camera.pop(tag, None)
        camera.pop(int(ExifTags.IFD.Interop), None)
        if not exif and not camera:
            return None
        camera[_WIDTH], camera[_HEIGHT] = width, height
        return exif.tobytes()
    except Exception:  # damaged EXIF is no reason to lose a sound image, and damaged EXIF is not passed on
        return None


def exif_of_size(data: bytes, width: int, height: int) -> bytes | None:
    """The EXIF of a picture that has another size now: dimensions as they are, and as many more pixels an inch."""
    try:
        exif = Image.Exif()
        exif.load(data)
        camera = exif.get_ifd(_EXIF)
        before = camera.get(_WIDTH), camera.get(_HEIGHT)
        if before == (width, height):
            return data
        camera[_WIDTH], camera[_HEIGHT] = width, height
        for tag, now, was in ((282, width, before[0]), (283, height, before[1])):
            if tag in exif and isinstance(was, int) and was > 0:
                scaled = float(exif[tag]) * now / was
                exif[tag] = IFDRational(round(scaled * 1000), 1000) if math.isfinite(scaled) else IFDRational(72)
        return exif.tobytes()
    except Exception:  # as above
        return None


def carried_xmp(packet: bytes | str | None) -> bytes | None:
    """An XMP packet without claims about other pixels: itself where it makes none, None where it can't be read."""
    data = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    data = data.rstrip(b"\0") if data else data
    if not data or len(data) > MOST_XMP_BYTES or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return None
    try:
        document = minidom.parseString(data)
        assert document.documentElement is not None
        untrue = list(_untrue(document.documentElement))
        if not untrue:
            return data
        for element, attribute in untrue:
            if attribute:
                element.removeAttribute(attribute)
            elif element.parentNode is not None:
                element.parentNode.removeChild(element)
        return "".join(node.toxml() for node in document.childNodes).encode()
    except Exception:  # not XML, nested too deeply, …: what it says can't be told, and isn't passed on
        return None


def _untrue(element: minidom.Element) -> Iterator[tuple[minidom.Element, str]]:
    """Elements, and attributes by their names, that tell of other pixels."""
    pending = [element]
    while pending:
        element = pending.pop()
        for attribute in list(element.attributes.values()):
            if _is_untrue(attribute.namespaceURI, attribute.localName):
                yield element, attribute.name
        for child in element.childNodes:
            if child.nodeType == child.ELEMENT_NODE:
                if _is_untrue(child.namespaceURI, child.localName):
                    yield child, ""
                else:
                    pending.append(child)


def _is_untrue(space: str | None, name: str | None) -> bool:
    if space is None or name is None:
        return False
    if space in _TRUE_STILL:
        return name not in _TRUE_STILL[space]
    return space in _UNTRUE_SPACES or name in _UNTRUE.get(space, ())
