"""Re-check results that are plain files: each is there, whole, and what its row says, and some row names it."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recast.pipeline import storage
from recast.pipeline.ahead import ahead
from recast.pipeline.images.decode import decode
from recast.pipeline.input_errors import InputError
from recast.pipeline.output import plain_files
from recast.pipeline.output.index import FILES, key_hashes, place_of
from recast.pipeline.storage import FileSystem

MAX_PIXELS = 2**40
"""Results may be as large as they are; the limit on inputs was kept when they were made."""

Row = dict[str, Any]


def file_faults(fs: FileSystem, output: str, rows: Sequence[Row], threads: int) -> list[tuple[Row, str]]:
    """What is wrong with the files of rows, `threads` of which are read at a time: rows, each with a sentence."""
    with ThreadPoolExecutor(threads) as checkers:
        found = ahead(lambda row: (row, _file_fault(fs, output, row)), rows, checkers, threads)
        return [(row, fault) for row, fault in found if fault]


def _file_fault(fs: FileSystem, output: str, row: Row) -> str:
    place = place_of(row)
    assert place is not None
    try:
        data = storage.read_bytes(fs, storage.join(output, place.path))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return f"{row['key']} ({place.path}): the file is missing"
    if len(data) != place.length:
        return f"{row['key']} ({place.path}): the file has {len(data):,} of {place.length:,} bytes"
    return image_fault(row, place.path, data)


def image_fault(row: Row, where: str, data: bytes) -> str:
    """What is wrong with one ok row's bytes; empty if nothing is."""
    where = f"{row['key']} ({where})"
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        return f"{where}: the bytes don't match their sha256"
    try:
        picture = decode(data, MAX_PIXELS)
    except InputError as fault:
        return f"{where}: {fault}"
    if (picture.width, picture.height) != (row["width"], row["height"]):
        return f"{where}: is {picture.width} x {picture.height}, the row says {row['width']} x {row['height']}"
    return ""


def nameless(fs: FileSystem, output: str, rows: Sequence[Row]) -> Iterator[str]:
    """Pictures in the folder of plain files that none of the rows names, in sentences."""
    for paths in plain_files.unnamed(fs, output, key_hashes(row["member"] for row in rows)):
        yield from (f"{FILES}/{path}: no row names it" for path in paths)
