"""A TIFF file's directories: how many pictures it holds, which is the picture, and whether it is camera raw."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recast.pipeline.images.frames import first_of
from recast.pipeline.images.signatures import camera_raw
from recast.pipeline.input_errors import InputError

MOST_PAGES = 100_000
"""Pages are counted so far."""
MOST_LOOKED_INTO = 64
"""The tags of so many directories of a file are read."""
MOST_VALUES = 1 << 22
"""More values of one tag are not read: a picture has fewer strips."""
MOST_STRIPS, MOST_EXIF_VALUES = 1 << 20, 1 << 20
MAX_TILE_PIXELS = 1 << 26
"""A decoder takes memory for a whole tile, however small the picture is."""

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, MAKE = 256, 257, 258, 259, 262, 271
SUBFILE, OLD_SUBFILE, FILL_ORDER, STRIP_OFFSETS, ORIENTATION, SAMPLES = 254, 255, 266, 273, 274, 277
ROWS, STRIP_BYTES, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH = 278, 279, 284, 317, 322, 323
TILE_OFFSETS, TILE_BYTES, SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT = 324, 325, 330, 338, 339
GDAL_NODATA, DNG_VERSION, CFA_PATTERN, CFA_PATTERN_2 = 42113, 50706, 33422, 50710
EXIF, GPS = 34665, 34853

_CFA, _LINEAR_RAW = 32803, 34892
_RAW_COMPRESSIONS = {262, 32767, 32769, 32770, 34713, 34892, 65000, 65535}
_TYPES = {
    1: "u1",
    2: "S1",
    3: "u2",
    4: "u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
}

Order = Literal["<", ">"]
"""The byte order, as in struct."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The tags of one picture in a TIFF file."""

    data: bytes
    order: Order
    entries: dict[int, tuple[int, int, int]]
    """By tag: type, count, and where the values lie."""
    below: bool = False
    """Whether it is a sub-directory of another, and no page of its own."""

    def values(self, tag: int) -> np.ndarray:
        """A tag's values; an empty array where it is absent, damaged, or of another kind than numbers and text."""
        kind, count, at = self.entries.get(tag, (0, 0, 0))
        if kind not in _TYPES or not 0 < count <= MOST_VALUES:
            return np.empty(0, np.uint8)
        dtype = np.dtype(_TYPES[kind]).newbyteorder(self.order)
        if at + count * dtype.itemsize > len(self.data):
            return np.empty(0, np.uint8)
        return np.frombuffer(self.data, dtype, count, at)

    def number(self, tag: int, default: int) -> int:
        values = self.values(tag)
        return int(values[0]) if values.size and values.dtype.kind in "iu" else default

    def text(self, tag: int) -> str:
        return self.values(tag).tobytes().split(b"\0")[0].decode("latin-1").strip()

    @property
    def pixels(self) -> int:
        return self.number(WIDTH, 0) * self.number(LENGTH, 0)

    @property
    def reduced(self) -> bool:
        """Whether it says of itself that it is a smaller version of another picture of the file."""
        return bool(self.number(SUBFILE, 0) & 1) or self.number(OLD_SUBFILE, 1) == 2

    @property
    def mask(self) -> bool:
        return bool(self.number(SUBFILE, 0) & 4)

    @property
    def bits(self) -> list[int]:
        """Bits of each sample."""
        bits, samples = self.values(BITS), self.number(SAMPLES, 1)
        return [int(b) for b in bits[:64]] if bits.size > 1 else [self.number(BITS, 1)] * min(samples, 64)


@dataclass(frozen=True, slots=True)
class TiffFile:
    """A TIFF file's first picture, and what else it holds."""

    first: Directory
    pages: int
    whole: bool
    """Whether all pages were counted."""
    others: list[Directory]
    """Further pages and sub-directories, the first of them."""
    small_exif: bool
    """Whether its EXIF is small enough to be looked into."""

    def note(self) -> str:
        """What is left out where the first picture alone is taken: pages that aren't smaller versions or masks."""
        return first_of(self.pages, whole=self.whole)


def parsed(data: bytes) -> TiffFile | None:
    """A TIFF file's directories; None if it doesn't begin as one, or its first can't be read.

    Raises:
        InputError: `unsupported`: it is camera raw, or its first picture is a thumbnail of another; `corrupt`: it
            declares too many strips, or too large tiles.
    """
    head = _header(data)
    if head is None:
        return None
    order, big, start = head
    offsets, pages, whole = _pages(data, order, big, start)
    first = _directory(data, order, big, start)
    if first is None:
        return None
    others = list(_others(data, order, big, first, offsets[1:]))
    _refuse_raw(data, [first, *others])
    largest = max(others, key=lambda other: other.pixels, default=first)
    if first.reduced and largest.pixels > first.pixels:
        size = f"{largest.number(WIDTH, 0):,} x {largest.number(LENGTH, 0):,}"
        raise InputError(
            "unsupported", f"its first picture is a thumbnail of one of {size} pixels; save that by itself"
        )
    if largest.below and largest.pixels > first.pixels:
        raise InputError("unsupported", "a larger picture lies below its first one (SubIFDs); save that by itself")
    area = first.number(TILE_WIDTH, 0) * first.number(TILE_LENGTH, 0)
    if area > max(MAX_TILE_PIXELS, 4 * first.pixels):
        raise InputError("corrupt", f"its tiles are said to have {area:,} pixels each")
    if max(first.entries.get(tag, (0, 0, 0))[1] for tag in (STRIP_OFFSETS, TILE_OFFSETS)) > MOST_STRIPS:
        raise InputError("corrupt", f"its first picture is said to have more than {MOST_STRIPS:,} strips or tiles")
    below = [_directory(data, order, big, first.number(tag, 0)) for tag in (EXIF, GPS) if tag in first.entries]
    small = all(sum(count for _, count, _ in d.entries.values()) <= MOST_EXIF_VALUES for d in below if d)
    return TiffFile(first, pages, whole, others, small)


def _header(data: bytes) -> tuple[Order, bool, int] | None:
    """Byte order, whether it is a BigTIFF, and where the first directory lies."""
    if data[:2] not in (b"II", b"MM") or len(data) < 16:
        return None
    order: Order = "<" if data[:2] == b"II" else ">"
    version = struct.unpack_from(order + "H", data, 2)[0]
    if version == 42:
        return order, False, struct.unpack_from(order + "I", data, 4)[0]
    if version == 43 and struct.unpack_from(order + "HH", data, 4) == (8, 0):
        return order, True, struct.unpack_from(order + "Q", data, 8)[0]
    return None


def _pages(data: bytes, order: Order, big: bool, start: int) -> tuple[list[int], int, bool]:
    """Where the first directories lie, how many are pictures in their own right, and whether all were counted."""
    count_format, entry_bytes, next_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    read_count, read_next = struct.Struct(order + count_format), struct.Struct(order + next_format)
    subfile = struct.Struct(order + ("HHQI" if big else "HHII"))
    seen: set[int] = set()
    offsets: list[int] = []
    pages = 0
    while start and start not in seen and len(seen) < MOST_PAGES:
        if start + read_count.size > len(data):
            break
        entries = read_count.unpack_from(data, start)[0]
        body = start + read_count.size
        end = body + entries * entry_bytes
        if end + read_next.size > len(data):
            if not seen and end <= len(data):
                offsets, pages = [start], 1
            break
        seen.add(start)
        if len(offsets) < MOST_LOOKED_INTO:
            offsets.append(start)
        tag, _, _, value = subfile.unpack_from(data, body) if entries else (0, 0, 0, 0)
        pages += not (tag == SUBFILE and value & 5)
        start = read_next.unpack_from(data, end)[0]
    return offsets, pages, len(seen) < MOST_PAGES


def _directory(data: bytes, order: Order, big: bool, at: int, below: bool = False) -> Directory | None:
    count_format, entry_format, inline = ("Q", "HHQQ", 8) if big else ("H", "HHII", 4)
    entry, header = struct.Struct(order + entry_format), struct.Struct(order + count_format)
    if at + header.size > len(data):
        return None
    count = header.unpack_from(data, at)[0]
    entries: dict[int, tuple[int, int, int]] = {}
    for n in range(min(count, 4096)):
        place = at + header.size + n * entry.size
        if place + entry.size > len(data):
            break
        tag, kind, values, where = entry.unpack_from(data, place)
        size = np.dtype(_TYPES[kind]).itemsize * values if kind in _TYPES else 0
        entries.setdefault(tag, (kind, values, place + entry.size - inline if size <= inline else where))
    return Directory(data, order, entries, below)


def _others(data: bytes, order: Order, big: bool, first: Directory, pages: list[int]) -> Iterator[Directory]:
    """Pages after the first, and what lies in the sub-directories of all."""
    seen: set[int] = set()
    below = [int(at) for at in first.values(SUB_IFDS)[:MOST_LOOKED_INTO]]
    for at in pages:
        page = _directory(data, order, big, at)
        if page is not None:
            yield page
            below += [int(at) for at in page.values(SUB_IFDS)[:MOST_LOOKED_INTO]]
    while below and len(seen) < MOST_LOOKED_INTO:
        at = below.pop(0)
        if at in seen:
            continue
        seen.add(at)
        sub = _directory(data, order, big, at, below=True)
        if sub is not None:
            yield sub
            below += [int(at) for at in sub.values(SUB_IFDS)[:MOST_LOOKED_INTO]]


def _refuse_raw(data: bytes, directories: list[Directory]) -> None:
    maker = next((name for d in directories if (name := d.text(MAKE))), "")
    if data[8:10] == b"CR":
        raise camera_raw("Canon CR2")
    if DNG_VERSION in directories[0].entries:
        raise camera_raw(f"DNG of {maker}" if maker else "DNG")
    for directory in directories:
        tags = directory.entries
        if (
            directory.number(PHOTOMETRIC, 1) in (_CFA, _LINEAR_RAW)
            or CFA_PATTERN in tags
            or CFA_PATTERN_2 in tags
            or directory.number(COMPRESSION, 1) in _RAW_COMPRESSIONS
        ):
            raise camera_raw(f"of {maker}" if maker else "of an unnamed camera")
