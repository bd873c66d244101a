"""Compressed archives, which can only be read forwards: one pass over each for all the members a worker needs of it."""

import bz2
import gzip
import io
import lzma
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import zstandard

from recast.pipeline import storage
from recast.pipeline.input_errors import InputError
from recast.pipeline.storage import FileSystem

CHUNK_BYTES = 1 << 20
KEPT_BYTES = 32 << 20
"""How much of what went by last is kept for members asked for a little out of order: several threads fetch at once."""
OPEN_AT_ONCE = 4
"""Archives with a pass going on, so that several whose members come in turn don't begin again for each."""
LARGEST_ZSTD_WINDOW = 1 << 31

_UNPACKERS: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".tgz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda file: zstandard.ZstdDecompressor(max_window_size=LARGEST_ZSTD_WINDOW).stream_reader(
        file, read_across_frames=True
    ),
}
ENDINGS = tuple(_UNPACKERS)
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile)


def unpacked(fs: FileSystem, path: str) -> Any:
    """A compressed file's content as a file that is read forwards; any other file as it is."""
    file = storage.open_read(fs, path)
    unpack = next((u for ending, u in _UNPACKERS.items() if path.lower().endswith(ending)), None)
    return ForwardStream(unpack(file)) if unpack else file


class ForwardStream(io.RawIOBase):
    """An unpacker's output as it comes: what could be unpacked before damage comes before the fault."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read1(size)

    def readinto(self, buffer: Any) -> int:
        data = self._file.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def is_damage(fault: BaseException) -> bool:
    """Whether an unpacker (or Arrow) says by this that the data are at fault. Storage's own OSErrors have a number."""
    return isinstance(fault, DAMAGE) or (type(fault) is OSError and fault.errno is None)


class ForwardReader:
    """A compressed file going by. Ranges are of its unpacked content, asked for in about their order."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._fs, self._path = fs, path
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._file = unpacked(self._fs, self._path)
        self._kept, self._start = bytearray(), 0

    def read(self, offset: int, length: int) -> bytes:
        """Fewer bytes than `length` where the content ends before. Raises InputError `corrupt` or `truncated`."""
        with self._lock:
            if offset < self._start:
                self._begin()
            try:
                self._pass(offset, offset + length)
            except Exception as fault:
                if not is_damage(fault):
                    raise
                kind = "truncated" if isinstance(fault, EOFError) else "corrupt"
                raise InputError(kind, f"the compressed archive can't be unpacked this far: {fault}") from fault
            return bytes(self._kept[offset - self._start : offset - self._start + length])

    def _pass(self, start: int, stop: int) -> None:
        """Read until `stop`, and forget what lies far before `start`."""
        while self._start + len(self._kept) < stop:
            chunk = self._file.read(CHUNK_BYTES)
            if not chunk:
                return
            self._kept += chunk
            surplus = min(len(self._kept) - KEPT_BYTES, start - self._start)
            if surplus > 0:
                del self._kept[:surplus]
                self._start += surplus


_open: OrderedDict[tuple[str, str], ForwardReader] = OrderedDict()
_opening = threading.Lock()


def read_range(fs: FileSystem, path: str, root: str, offset: int, length: int) -> bytes:
    """A range of a compressed file's content; calls in about the order of the ranges share one pass over it.

    Args:
        root: what gives the file system again (`storage.root`).
    """
    with _opening:
        passing = _open.pop((root, path), None) or ForwardReader(fs, path)
        _open[root, path] = passing
        while len(_open) > OPEN_AT_ONCE:
            _open.popitem(last=False)
    return passing.read(offset, length)
