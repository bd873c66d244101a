"""One input image: what it is called, where its bytes lie, and how to get them."""

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from pipeline import storage
from pipeline.images.faults import Fault

Packing = Literal["file", "tar", "zip-stored", "zip-deflate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An image to be processed; found by listing, not yet read."""

    key: str
    """Its path relative to the source root, with its extension."""
    source: str
    """Full URI: `s3://…`, `file://…`, `tar://member::s3://…`, `zip://member::…`."""
    fingerprint: str
    """Identifies the content without reading it."""
    holder: bytes
    """URL of the file that holds the bytes; bytes, since a file name need not be UTF-8."""
    packing: Packing = "file"
    """How the holder holds it."""
    offset: int = 0
    """Where the bytes begin; for zip, where the member's local header does."""
    length: int = 0
    """Bytes in the holder."""
    size: int = 0
    """Bytes once unpacked."""
    crc: int = -1
    """CRC-32 of the unpacked bytes, where the archive gives one."""
    problem: str = ""
    """Why it must not be read, as `kind: sentence`; empty for an ordinary input."""

    @staticmethod
    def of_file(key: str, uri: str, fingerprint: str, size: int) -> "Input":
        holder = uri.encode("utf-8", "surrogateescape")
        return Input(key=key, source=readable(uri), fingerprint=fingerprint, holder=holder, length=size, size=size)


def readable(name: str) -> str:
    """A file name as valid Unicode: bytes that aren't UTF-8 become `\\xNN`, so that different names stay different."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


ZIP_HEADER_SLACK_BYTES = 512
"""Read beyond a zip member's expected length: the extra field of its local header isn't known from the directory."""


def read(item: Input, max_bytes: int) -> bytes:
    """An input's encoded image.

    Raises:
        Fault: the input may not or can't be unpacked.
        OSError: and what else storage libraries raise, where storage is at fault.
    """
    if item.problem:
        kind, _, sentence = item.problem.partition(": ")
        raise Fault(kind, sentence)
    if item.size > max_bytes:
        raise Fault("too-large", f"{item.size:,} bytes; the limit is {max_bytes:,}")
    fs, path = storage.filesystem(item.holder.decode("utf-8", "surrogateescape"))
    if item.packing == "file":
        return storage.read_bytes(fs, path)
    if item.packing == "tar":
        return _whole(storage.read_bytes(fs, path, item.offset, item.length), item.length)
    packed = _zip_member(fs, path, item)
    data = _inflated(packed, item.size) if item.packing == "zip-deflate" else packed
    if zlib.crc32(data) != item.crc:
        raise Fault("corrupt", "the zip member's bytes don't match their CRC")
    return data


def _whole(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise Fault("truncated", f"the archive ends {length - len(data):,} bytes too early")
    return data


def _zip_member(fs: storage.FileSystem, path: str, item: Input) -> bytes:
    """A zip member's packed bytes, which follow its local header, a name and an extra field."""
    guess = 30 + len(item.source) + ZIP_HEADER_SLACK_BYTES + item.length
    data = storage.read_bytes(fs, path, item.offset, guess)
    if data[:4] != b"PK\x03\x04" or len(data) < 30:
        raise Fault("corrupt", "the zip member's local header is damaged")
    name_length, extra_length = struct.unpack("<HH", data[26:30])
    start = 30 + name_length + extra_length
    if start + item.length > guess:
        return _whole(storage.read_bytes(fs, path, item.offset + start, item.length), item.length)
    return _whole(data[start : start + item.length], item.length)


def _inflated(data: bytes, size: int) -> bytes:
    """Raw deflate data, unpacked to exactly `size` bytes and never more (a zip bomb declares less than it holds)."""
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        unpacked = stream.decompress(data, size + 1)
    except zlib.error as fault:
        raise Fault("corrupt", f"the zip member does not inflate: {fault}") from fault
    if len(unpacked) != size:
        raise Fault("corrupt", f"the zip member holds other than the {size:,} bytes it declares")
    return unpacked
