"""An input's bytes: read, unpacked, and checked against what was said of them."""

import hashlib
import struct
import zlib

from recast.pipeline import storage
from recast.pipeline.images import compressed, parquet
from recast.pipeline.images.faults import Fault
from recast.pipeline.images.inputs import Input

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
    _check_size(item.size, max_bytes)
    url = item.holder.decode("utf-8", "surrogateescape")
    fs, path = storage.filesystem(url)
    data = _unpacked(fs, path, url, item)
    _check_size(len(data), max_bytes)
    if item.sha256 and hashlib.sha256(data).hexdigest() != item.sha256:
        raise Fault("corrupt", "the bytes are not those that the output's index tells of")
    return data


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Fault("too-large", f"{size:,} bytes; the limit is {limit:,}")


def _unpacked(fs: storage.FileSystem, path: str, url: str, item: Input) -> bytes:
    match item.packing:
        case "file":
            return storage.read_bytes(fs, path)
        case "named":
            return _named(fs, path)
        case "range":
            return _whole(storage.read_bytes(fs, path, item.offset, item.length), item.length)
        case "passing":
            return _whole(compressed.read_range(fs, path, url, item.offset, item.length), item.length)
        case "parquet":
            return parquet.read_row(fs, path, url, item.offset, item.column)
        case "zip-stored" | "zip-deflate":
            packed = _zip_member(fs, path, item)
            data = _inflated(packed, item.size) if item.packing == "zip-deflate" else packed
            if zlib.crc32(data) != item.crc:
                raise Fault("corrupt", "the zip member's bytes don't match their CRC")
            return data


def _named(fs: storage.FileSystem, path: str) -> bytes:
    """An image that a table promised: where it isn't there, that is the table's fault and not the storage's."""
    try:
        return storage.read_bytes(fs, path)
    except FileNotFoundError as fault:
        raise Fault("missing", "nothing lies where the inventory says") from fault


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
