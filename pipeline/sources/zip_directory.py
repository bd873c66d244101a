"""The central directory of a zip archive, read record by record: its size and its lies cost no memory."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64_BYTES = 20
RECORD = struct.Struct("<4s6H3L5H2L")
MOST_COMMENT_BYTES = 1 << 16
LONGEST_RECORD = RECORD.size + 3 * MOST_COMMENT_BYTES
CHUNK_BYTES = 1 << 18
UTF_8 = 0x800
"""Flag of a member whose name is UTF-8; that of others is in code page 437."""


class BadZipError(Exception):
    """What is no zip archive, or a directory that can't be read on from here."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member, as the directory tells of it."""

    name: str
    flags: int
    method: int
    crc: int
    packed_bytes: int
    bytes: int
    offset: int
    """Where its local header lies in the file."""
    mode: int
    """Unix file mode, 0 where the archive was made by a program that has none."""


def entries(file: Any, size: int) -> Iterator[Entry]:
    """The members of an archive in the order of its directory.

    Args:
        size: of the file, in bytes.

    Raises:
        BadZipError: no zip archive, or after some members a damaged record, or fewer of them than announced.
    """
    start, stop, shift, announced = _directory(file, size)
    buffer, at, place, count = b"", 0, start, 0
    while place < stop or at < len(buffer):
        if len(buffer) - at < LONGEST_RECORD and place < stop:
            file.seek(place)
            chunk = file.read(min(CHUNK_BYTES, stop - place))
            if not chunk:
                raise BadZipError("the directory ends early")
            buffer, at, place = buffer[at:] + chunk, 0, place + len(chunk)
        entry, length = _entry(buffer, at, shift)
        yield entry
        at, count = at + length, count + 1
    if count & 0xFFFF != announced & 0xFFFF:
        raise BadZipError(f"the directory holds {count:,} members, and {announced:,} were announced")


def _directory(file: Any, size: int) -> tuple[int, int, int, int]:
    """Where the directory begins and ends, how far everything lies behind where it says it does, and its members."""
    length = END_64.size + LOCATOR_64_BYTES + END.size + MOST_COMMENT_BYTES
    file.seek(max(size - length, 0))
    tail = file.read(length)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < END.size:
        raise BadZipError("it has no end record")
    end = size - len(tail) + at
    *_, announced, length, offset, _ = END.unpack_from(tail, at)
    stop = end
    before = at - LOCATOR_64_BYTES - END_64.size
    if before >= 0 and tail[at - LOCATOR_64_BYTES :][:4] == b"PK\6\7" and tail[before:][:4] == b"PK\6\6":
        *_, announced, length, offset = END_64.unpack_from(tail, before)
        stop = end - LOCATOR_64_BYTES - END_64.size
    start = stop - length
    if start < 0 or offset > start:
        raise BadZipError("its end record tells of a directory that would begin before the file")
    return start, stop, start - offset, announced


def _entry(buffer: bytes, at: int, shift: int) -> tuple[Entry, int]:
    if len(buffer) - at < RECORD.size or buffer[at : at + 4] != b"PK\1\2":
        raise BadZipError("a record of the directory is damaged")
    facts = RECORD.unpack_from(buffer, at)
    flags, method, crc, packed, unpacked = facts[3], facts[4], *facts[7:10]
    name_length, extra_length, comment_length = facts[10:13]
    attributes, offset = facts[15:17]
    length = RECORD.size + name_length + extra_length + comment_length
    if length > len(buffer) - at:
        raise BadZipError("a record of the directory ends early")
    start = at + RECORD.size
    raw = buffer[start : start + name_length].partition(b"\0")[0]
    name = raw.decode("utf-8", "surrogateescape") if flags & UTF_8 else raw.decode("cp437")
    extra = buffer[start + name_length :][:extra_length] if extra_length else b""
    unpacked, packed, offset = _widened(extra, unpacked, packed, offset)
    return Entry(name, flags, method, crc, packed, unpacked, offset + shift, attributes >> 16), length


def _widened(extra: bytes, *values: int) -> Iterator[int]:
    """Sizes and offset, those that need 64 bits from the extra field where they lie then."""
    wide, place = b"", 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            wide = extra[place + 4 : place + 4 + length]
            break
        place += 4 + length
    for value in values:
        if value == 0xFFFFFFFF:
            if len(wide) < 8:
                raise BadZipError("a member's 64-bit size is missing")
            value, wide = struct.unpack_from("<Q", wide)[0], wide[8:]
        yield value
