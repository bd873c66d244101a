"""What a decoder would take memory or time for before it says how large an image is: looked at first, and refused."""

import re
import struct
from collections.abc import Callable

from recast.pipeline.images import png
from recast.pipeline.input_errors import InputError

OWN_MAX_PIXELS, OWN_MAX_BYTES = 1 << 28, 1 << 30
"""Limits for images that a person names as their own: what they train on, and what they have compared."""
MOST_SCANS = 1000
"""A progressive JPEG with more passes over its pixels takes minutes by intent; real ones have about ten."""
MOST_SEGMENTS = 1024
"""Before a JPEG's pixels: 64 MB of profiles and EXIF."""
MOST_BLOCKS = 100_000
"""Before a GIF's first frame."""
MOST_BOXES = 1000
"""Before and in a JPEG 2000 file's header."""
PNM_HEADER_BYTES = 1 << 16
_PNM_HEADER = re.compile(rb"P[1-6fF](?:(?:\s|#[^\r\n]*+[\r\n])++[^\s#]++){2}")
_BC6H = {94, 95, 96}
"""Floating-point colours in a DDS file, which Pillow clips."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image of too many pixels.

    Raises:
        InputError: `too-large`.
    """
    if width * height > max_pixels:
        raise InputError("too-large", f"{width:,} x {height:,} pixels; the limit is {max_pixels:,} in all")


def check_header(data: bytes, max_pixels: int) -> None:
    """Refuse a file whose header alone asks for too much.

    Raises:
        InputError: `too-large`, `corrupt`, `unsupported`.
    """
    for magic, check in _CHECKS.items():
        if data.startswith(magic):
            check(data, max_pixels)


def _webp(data: bytes, max_pixels: int) -> None:
    if data[8:16] == b"WEBPVP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        check_size(width, height, max_pixels)


def _icon(data: bytes, max_pixels: int) -> None:
    count = struct.unpack_from("<H", data, 4)[0] if len(data) > 6 else 0
    for entry in range(min(count, (len(data) - 6) // 16)):
        at = struct.unpack_from("<I", data, 18 + 16 * entry)[0]
        if data[at : at + 8] == png.SIGNATURE and len(data) >= at + 24:
            width, height = struct.unpack_from(">II", data, at + 16)
            check_size(width, height, max_pixels)
        elif len(data) >= at + 12:
            width, height = struct.unpack_from("<ii", data, at + 4)
            check_size(abs(width), abs(height), 2 * max_pixels)  # the height is that of picture and mask together


def _jpeg(data: bytes, max_pixels: int) -> None:
    if (scans := data.count(b"\xff\xda")) > MOST_SCANS:
        raise InputError("too-large", f"{scans:,} passes over a JPEG's pixels; the limit is {MOST_SCANS:,}")
    at = 2
    for _ in range(MOST_SEGMENTS):
        if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] == 0xDA:
            return
        at += 1 if data[at + 1] == 0xFF else 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise InputError("corrupt", f"more than {MOST_SEGMENTS:,} segments before a JPEG's pixels")


def _gif(data: bytes, max_pixels: int) -> None:
    at = 13 + (3 << (1 + (data[10] & 7)) if len(data) > 10 and data[10] & 0x80 else 0)
    inside = False
    for _ in range(MOST_BLOCKS):
        if at >= len(data) or (not inside and data[at] != 0x21):
            return
        at, inside = (at + 1 + data[at], data[at] != 0) if inside else (at + 2, True)
    raise InputError("corrupt", f"more than {MOST_BLOCKS:,} blocks before a GIF's first frame")


def _jpeg_2000(data: bytes, max_pixels: int) -> None:
    at = 0
    for _ in range(MOST_BOXES):
        if len(data) < at + 16:
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"jp2c":
            return
        size = struct.unpack_from(">Q", data, at + 8)[0] if length == 1 else length
        if size < 8:
            return
        if kind == b"jp2h" and size > (MOST_BOXES << 10):
            break
        at += size
    raise InputError("corrupt", f"more than {MOST_BOXES:,} boxes, or too large a header, before a JPEG 2000's pixels")


def _pnm(data: bytes, max_pixels: int) -> None:
    if data[1:2] in b"123456fF" and data[2:3] in b" \t\r\n\v\f#" and not _PNM_HEADER.match(data[:PNM_HEADER_BYTES]):
        raise InputError("corrupt", "its size isn't said where a PNM file begins")


def _dds(data: bytes, max_pixels: int) -> None:
    if data[84:88] == b"DX10" and len(data) >= 132 and struct.unpack_from("<I", data, 128)[0] in _BC6H:
        raise InputError("unsupported", "a DDS file in floating point (BC6H), which is not read; convert it first")


_CHECKS: dict[bytes, Callable[[bytes, int], None]] = {
    b"RIFF": _webp,
    b"\0\0\1\0": _icon,
    b"\xff\xd8\xff": _jpeg,
    b"GIF8": _gif,
    b"\0\0\0\x0cjP  ": _jpeg_2000,
    b"P": _pnm,
    b"DDS ": _dds,
}
