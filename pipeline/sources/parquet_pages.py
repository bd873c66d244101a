"""What a Parquet column will unpack to, told by the headers of its pages before any of them is unpacked.

Metadata at a file's end say it too, and may lie; a page's own header is what Arrow allocates by.
"""

import io
from dataclasses import dataclass
from typing import Any

DICTIONARY_PAGE = 2
_ABOUT = {0: 5, 2: 7, 3: 8}
"""For each kind of page (data, dictionary, data of version 2), the field of its header that tells of its values."""
MOST_CHUNK_BYTES = 2 << 30
SLACK_BYTES = 1 << 16
"""What a page may take for other things than values: lengths, definition and repetition levels."""
MOST_DEPTH = 16
MOST_ELEMENTS = 1 << 20
LONGEST_HEADER_BYTES = 1 << 20


class BadPageError(Exception):
    """A page header that can't be read."""


class TooLargeError(Exception):
    """More than may be unpacked."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one column chunk."""

    bytes: int
    """All of them unpacked."""
    largest_bytes: int
    dictionary_bytes: int
    value_bytes: int
    """Mean size of a value in the page where that is largest; some value has at least so many bytes."""


def pages(chunk: bytes, wanted_values: int) -> Pages:
    """The pages in the bytes of a column chunk, up to as many values as it has.

    Raises:
        BadPageError: its headers lead nowhere.
    """
    place = total = largest = dictionary = values = widest = 0
    while values < wanted_values:
        header, length = _struct(memoryview(chunk)[place : place + LONGEST_HEADER_BYTES])
        kind, unpacked, packed = (header.get(field, -1) for field in (1, 2, 3))
        if not all(isinstance(n, int) and n >= 0 for n in (kind, unpacked, packed)):
            raise BadPageError("a page header without sizes")
        place += length + packed
        if place > len(chunk):
            raise BadPageError("a page that ends outside of its column")
        total, largest = total + unpacked, max(largest, unpacked)
        count = _count(header, kind)
        widest = max(widest, unpacked // max(count, 1))
        if kind == DICTIONARY_PAGE:
            dictionary = max(dictionary, unpacked)
        else:
            values += count
    return Pages(total, largest, dictionary, widest)


def _count(header: dict[int, Any], kind: int) -> int:
    """How many values a page holds; pages of other kinds are passed over by Arrow, too."""
    about = header.get(_ABOUT.get(kind, 0))
    count = about.get(1, -1) if isinstance(about, dict) else -1
    if kind in _ABOUT and not (isinstance(count, int) and count >= 0):
        raise BadPageError("a page without a number of values")
    return max(count, 0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column of a row group, as the file's metadata tell of it."""

    values: int
    packed_bytes: int
    data_offset: int
    dictionary_offset: int


def chunks(file: Any, size: int) -> list[dict[str, Chunk]]:
    """For each row group its columns by their Parquet paths. Arrow's own way to them ends the process where they are
    damaged (pyarrow 26).

    Raises:
        BadPageError: the metadata can't be read.
    """
    file.seek(max(size - 8, 0))
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(size - 8 - length, 0))
    metadata, _ = _struct(memoryview(file.read(length)))
    return [dict(map(_chunk, _structs(group.get(1)))) for group in _structs(metadata.get(4))]


def _structs(value: Any) -> list[dict[int, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _chunk(column: dict[int, Any]) -> tuple[str, Chunk]:
    about = column.get(3)
    if not isinstance(about, dict):
        raise BadPageError("a column without metadata")
    names = about.get(3)
    path = b".".join(part for part in names if isinstance(part, bytes)) if isinstance(names, list) else b""
    numbers = [about.get(field, 0) for field in (5, 7, 9, 11)]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise BadPageError("a column without sizes")
    return path.decode("utf-8", "replace"), Chunk(*numbers)


def checked(file: Any, size: int, chunk: Chunk, most_value_bytes: int) -> tuple[int, bytes, Pages]:
    """Where a column chunk begins, its bytes as they lie in the file, and what its pages will unpack to.

    Args:
        size: of the file.

    Raises:
        BadPageError: the file holds no such chunk.
        TooLargeError: it is larger than is read at once, or some value in it is larger than it may be.
    """
    start, length = chunk.data_offset, chunk.packed_bytes
    if 0 < chunk.dictionary_offset < start:
        start = chunk.dictionary_offset
    if start + length > size:
        raise BadPageError("a column that lies outside of the file")
    if length > MOST_CHUNK_BYTES:
        raise TooLargeError(
            f"a row group has {length:,} bytes, and at most {MOST_CHUNK_BYTES:,} are read at once; write the file anew "
            "with smaller row groups"
        )
    file.seek(start)
    data = file.read(length)
    found = pages(data, chunk.values)
    if found.value_bytes > most_value_bytes + SLACK_BYTES:
        raise TooLargeError(f"some value unpacks to {found.value_bytes:,} bytes; the limit is {most_value_bytes:,}")
    return start, data, found


class Window(io.RawIOBase):
    """A file of which pieces are at hand already, for a reader that would fetch them a second time."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._size, self._place = file, size, 0
        self.held: list[tuple[int, bytes]] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def read(self, length: int = -1) -> bytes:
        length = self._size - self._place if length < 0 else length
        place, self._place = self._place, self._place + length
        for start, data in self.held:
            if start <= place and place + length <= start + len(data):
                return data[place - start : place - start + length]
        self._file.seek(place)
        found = self._file.read(length)
        self._place = place + len(found)
        return found


def _struct(data: memoryview) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol: its fields by number, and its length in bytes."""
    try:
        fields, place = _fields(data, 0, 0)
    except (IndexError, OverflowError) as fault:
        raise BadPageError("a page header that ends early") from fault
    return fields, place


def _fields(data: memoryview, place: int, depth: int) -> tuple[dict[int, Any], int]:
    found: dict[int, Any] = {}
    number = 0
    while byte := data[place]:
        place += 1
        if byte >> 4:
            number += byte >> 4
        else:
            number, place = _zigzag(data, place)
        found[number], place = _value(data, place, byte & 15, depth + 1)
    return found, place + 1


def _value(data: memoryview, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > MOST_DEPTH:
        raise BadPageError("a page header without an end")
    match kind:
        case 1 | 2:
            return kind == 1, place
        case 3:
            return data[place], place + 1
        case 4 | 5 | 6:
            return _zigzag(data, place)
        case 7:
            return None, place + 8
        case 8:
            length, place = _varint(data, place)
            return bytes(data[place : place + length]), place + length
        case 9 | 10:
            return _list(data, place, depth)
        case 12:
            return _fields(data, place, depth)
        case _:
            raise BadPageError("a page header of another kind")


def _list(data: memoryview, place: int, depth: int) -> tuple[list[Any], int]:
    """Structs and texts of a list; other elements are passed over."""
    byte, place = data[place], place + 1
    count, place = _varint(data, place) if byte >> 4 == 15 else (byte >> 4, place)
    if count > MOST_ELEMENTS:
        raise BadPageError("a list without an end")
    if (byte & 15) in _FIXED:
        return [], place + count * _FIXED[byte & 15]
    found = []
    for _ in range(count):
        value, place = _value(data, place, byte & 15, depth + 1)
        if isinstance(value, (dict, bytes)):
            found.append(value)
    return found, place


_FIXED = {1: 1, 2: 1, 3: 1, 7: 8}
"""Bytes of list elements that are of one length."""


def _zigzag(data: memoryview, place: int) -> tuple[int, int]:
    number, place = _varint(data, place)
    return (number >> 1) ^ -(number & 1), place


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        number, shift, place = number | (byte & 127) << shift, shift + 7, place + 1
        if not byte & 128:
            return number, place
        if shift > 63:
            raise BadPageError("a number of too many digits")
