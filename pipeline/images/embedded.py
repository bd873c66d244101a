"""What image files carry beside pixels (colour profile, EXIF, XMP), put into encoded JPEG and PNG files."""

import struct
import zlib
from dataclasses import dataclass

JPEG_SEGMENT_BYTES = 65_533
"""The most that one segment of a JPEG file holds."""
EXIF_MARK, XMP_MARK, ICC_MARK = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
PNG_HEADER_BYTES = 33
"""The signature and the IHDR chunk, which comes first."""

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for an image that a trained model made from another (Photo Metadata Standard, Digital Source Type)."""
_RDF_END = b"</rdf:RDF>"
_PROVENANCE = (
    b'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    b' Iptc4xmpExt:DigitalSourceType="' + SOURCE_TYPE.encode() + b'"/>'
)
_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">%s</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_COLOUR_SPACES = {b"GRAY", b"RGB ", b"CMYK", b"Lab "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What goes into a file; what is None doesn't."""

    icc: bytes | None = None
    exif: bytes | None = None
    """TIFF structure, with the `Exif` mark before it or without."""
    xmp: bytes | None = None


def with_provenance(xmp: bytes | None) -> bytes:
    """An XMP packet that says the image is machine-made, besides what it said before."""
    if xmp is None or xmp.count(_RDF_END) != 1:
        return _PACKET % _PROVENANCE
    return xmp.replace(_RDF_END, _PROVENANCE + _RDF_END)


def fits_colours(icc: bytes, channels: int) -> bool:
    """Whether a profile may go with so many channels (ICC.1, header bytes 16 to 19); unknown ones are let through."""
    return icc[16:20] not in _COLOUR_SPACES - {b"GRAY" if channels == 1 else b"RGB "}


def into_jpeg(file: bytes, more: Embedded) -> bytes:
    """A JPEG file with segments added. XMP or EXIF too long for a segment is left out."""
    segments = b""
    if more.exif:
        segments += _segment(0xE1, EXIF_MARK + more.exif.removeprefix(EXIF_MARK))
    if more.xmp:
        segments += _segment(0xE1, XMP_MARK + more.xmp)
    if more.icc:
        capacity = JPEG_SEGMENT_BYTES - len(ICC_MARK) - 2
        parts = [more.icc[start : start + capacity] for start in range(0, len(more.icc), capacity)]
        for number, part in enumerate(parts, 1):
            segments += _segment(0xE2, ICC_MARK + bytes([number, len(parts)]) + part)
    start = 2
    if file[2:4] == b"\xff\xe0":  # JFIF's own segment stays the first
        start += 2 + struct.unpack(">H", file[4:6])[0]
    return b"".join((file[:start], segments, file[start:])) if segments else file


def into_png(file: bytes, more: Embedded) -> bytes:
    """A PNG file with chunks added before its pixels."""
    chunks = b""
    if more.icc:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(more.icc))
    if more.exif:
        chunks += _chunk(b"eXIf", more.exif.removeprefix(EXIF_MARK))
    if more.xmp:
        chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + more.xmp)
    return b"".join((file[:PNG_HEADER_BYTES], chunks, file[PNG_HEADER_BYTES:])) if chunks else file


def _segment(marker: int, payload: bytes) -> bytes:
    if len(payload) > JPEG_SEGMENT_BYTES:
        return b""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
