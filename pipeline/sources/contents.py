"""An input's bytes: read, unpacked, and checked against what was said of them."""

import errno
import hashlib
import struct
import zlib

from recast.pipeline import storage
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources import compressed, parquet, tables
from recast.pipeline.sources.inputs import Input

ZIP_HEADER_SLACK_BYTES = 512
"""Read beyond a zip member's expected length: the extra field of its local header isn't known from the directory."""


def read(item: Input, max_bytes: int) -> bytes:
    """An input's encoded image. No more than `max_bytes` and what a read needs around them is ever asked for.

    Raises:
        InputError: the input may not or can't be unpacked, or isn't there; trying again would change nothing.
        OSError: and what else storage libraries raise, where storage is at fault.
    """
    if item.problem:
        kind, _, sentence = item.problem.partition(": ")
        raise InputError(kind, sentence)
    _check_size(item.size, max_bytes)
    try:
        fs, path = item.place()
        data = _unpacked(fs, path, item, max_bytes)
    except InputError:
        raise
    except Exception as fault:
        driver_node_options = _lasting(fault, item)
        if driver_node_options is None:
            raise
        raise driver_node_options from fault
    _check_size(len(data), max_bytes)
    if item.sha256 and hashlib.sha256(data).hexdigest() != item.sha256:
        raise InputError("corrupt", "the bytes are not those that the output's index tells of")
    return data


def _lasting(fault: Exception, item: Input) -> InputError | None:
    """What a read was stopped by, if the input is to blame for it; None if storage is, and may do better later."""
    named, sentence = item.layout == "named", str(fault).partition("\n")[0]
    if isinstance(fault, storage.StorageError):
        return InputError("unsupported", sentence)
    if isinstance(fault, (storage.NotAFileError, IsADirectoryError)):
        return InputError("not-a-file", "a folder, a pipe or a device lies there, which is never read")
    if isinstance(fault, MemoryError):
        return InputError("too-large", "there is no memory for its bytes")
    if named and isinstance(fault, (FileNotFoundError, NotADirectoryError)):
        return InputError("missing", "nothing lies where the inventory says")
    if named and _is_refused_name(fault):
        return InputError("unsafe-name", f"the storage can hold no such name ({sentence})")
    return None if storage.is_storage_fault(fault) else InputError("unreadable", f"{type(fault).__name__}: {sentence}")


def _is_refused_name(fault: Exception) -> bool:
    """Whether storage, or the library for it, says that nothing of this name can be there."""
    lawless = isinstance(fault, OSError) and fault.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
    return lawless or type(fault).__name__ in ("ParamValidationError", "InvalidURL", "InvalidUrlClientError")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise InputError("too-large", f"{size:,} bytes; the limit is {limit:,}")


def _unpacked(fs: storage.FileSystem, path: str, item: Input, max_bytes: int) -> bytes:
    match item.layout:
        case "numbers":
            return b""
        case "file":
            return storage.read_up_to(fs, path, max_bytes, item.size)
        case "named":
            if "http" in fs.protocol and tables.is_link_local(path, resolve=True):
                raise InputError("unsafe-name", "the address is one of this machine's surroundings (link-local)")
            return storage.read_up_to(fs, path, max_bytes)
        case "range":
            return _whole(storage.read_bytes(fs, path, item.offset, item.length), item.length)
        case "compressed-stream":
            return _whole(compressed.read_range(fs, path, item.root, item.offset, item.length), item.length)
        case "parquet":
            return parquet.read_row(fs, path, item, max_bytes)
        case "zip-stored" | "zip-deflate":
            _check_size(item.length, max_bytes)
            packed = _zip_member(fs, path, item)
            data = _inflated(packed, item.size) if item.layout == "zip-deflate" else packed
            if zlib.crc32(data) != item.crc:
                raise InputError("corrupt", "the zip member's bytes don't match their CRC")
            return data


def _whole(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise InputError("truncated", f"the archive ends {length - len(data):,} bytes too early")
    return data


def _zip_member(fs: storage.FileSystem, path: str, item: Input) -> bytes:
    """A zip member's packed bytes, which follow its local header, a name and an extra field."""
    guess = 30 + len(item.source) + ZIP_HEADER_SLACK_BYTES + item.length
    data = storage.read_bytes(fs, path, item.offset, guess)
    if data[:4] != b"PK\x03\x04" or len(data) < 30:
        raise InputError("corrupt", "the zip member's local header is damaged")
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
        raise InputError("corrupt", f"the zip member does not inflate: {fault}") from fault
    if len(unpacked) != size:
        raise InputError("corrupt", f"the zip member holds other than the {size:,} bytes it declares")
    return unpacked
