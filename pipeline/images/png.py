"""A PNG file's chunks: what is needed of them, and the file without those that a decoder might stumble over."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from recast.pipeline.input_errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 1_000_000
"""A file with more is refused; the pixels of 200 megapixels have some 100,000."""
MOST_UNPACKED_BYTES = 16 << 20
"""A colour profile or an XMP packet that unpacks to more is left out."""
_NOT_PIXELS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"}
_RAW_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
"""Texts that hold EXIF in hexadecimal digits, as ImageMagick wrote them before PNG had a chunk for it."""
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"


@dataclass(kw_only=True)
class PngFile:
    """What a PNG file says besides its pixels."""

    plain: bytes
    """The file without texts, profile and EXIF, none of which decides a pixel's value."""
    bits: int
    colour: int
    """0 grey, 2 RGB, 3 palette, 4 grey with opacity, 6 RGB with opacity."""
    transparent: bytes = b""
    """The one colour of a grey or RGB image that is transparent, two bytes a channel."""
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    frames: int = 1
    notes: list[str] = field(default_factory=list)


def parsed(data: bytes) -> PngFile | None:
    """A PNG file's chunks; None if it doesn't begin as one.

    Raises:
        InputError: `corrupt`: there are too many.
    """
    if not data.startswith(SIGNATURE) or data[12:16] != b"IHDR" or len(data) < 33:
        return None
    file = PngFile(plain=data, bits=data[24], colour=data[25])
    kept, kept_from, controls, first_control = [], 0, 0, False
    pixels = False
    for kind, start, stop in _chunks(data):
        body = slice(start + 8, stop - 4)
        if kind in _NOT_PIXELS:
            kept.append(data[kept_from:start])
            kept_from = stop
            _note_down(file, kind, data[body])
        elif kind == b"tRNS":
            file.transparent = data[body]
        elif kind == b"fcTL":
            first_control = first_control or (not controls and not pixels)
            controls += 1
        elif kind == b"IDAT":
            pixels = True
    if kept:
        file.plain = b"".join([*kept, data[kept_from:]])
    if controls:
        file.frames = controls + (not first_control)
    return file


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each whole chunk."""
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        if at + 12 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield kind, at, at + 12 + length
        if kind == b"IEND":
            return
        at += 12 + length
    raise InputError("corrupt", f"more than {MOST_CHUNKS:,} chunks in a PNG")


def _note_down(file: PngFile, kind: bytes, body: bytes) -> None:
    if kind == b"eXIf" and file.exif is None:
        file.exif = body
    elif kind == b"iCCP" and file.icc is None:
        packed = body.partition(b"\0")[2][1:]
        file.icc = _unpacked(packed)
        if file.icc is None:
            file.notes.append("a damaged or too large colour profile left out")
    elif kind == b"iTXt" and body.startswith(_XMP_KEYWORD) and file.xmp is None:
        compressed, rest = body[len(_XMP_KEYWORD) : len(_XMP_KEYWORD) + 1], body[len(_XMP_KEYWORD) + 2 :]
        text = rest.partition(b"\0")[2].partition(b"\0")[2]
        file.xmp = _unpacked(text) if compressed == b"\1" else text[:MOST_UNPACKED_BYTES]

    elif kind in (b"tEXt", b"zTXt") and body.startswith(_RAW_EXIF) and file.exif is None:
        text = body.partition(b"\0")[2]
        file.exif = _from_hex(text if kind == b"tEXt" else _unpacked(text[1:]) or b"")


def _from_hex(text: bytes) -> bytes | None:
    """Blank, name, length, then digits, each from a line of its own on."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii")) or None
    except ValueError:
        return None


def _unpacked(packed: bytes) -> bytes | None:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, MOST_UNPACKED_BYTES)
    except zlib.error:
        return None
    return data if stream.eof else None
