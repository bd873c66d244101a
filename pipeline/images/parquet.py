"""Parquet files that hold images: rows with encoded bytes, plain or in the Hugging Face form `{bytes, path}`."""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recast.pipeline import storage
from recast.pipeline.images.compressed import is_damage
from recast.pipeline.images.faults import Fault
from recast.pipeline.images.inputs import Input, readable
from recast.pipeline.images.listing import File
from recast.pipeline.storage import FileSystem, StorageError

IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "content")
"""Of several columns that could hold images, the first of these does."""
KEY_NAMES = ("key", "__key__", "file_name", "filename", "path", "name", "id")
"""Columns that name an image, the first that is there; after them the struct's own `path`, then the row's number."""
GROUPS_HELD = 2
"""Row groups in a worker's memory: its inputs come in the order of the rows."""


class NotATableError(StorageError):
    """A file that isn't Parquet, or has no column of images."""


def image_column(schema: pa.Schema) -> str | None:
    """The column that holds encoded images, as a Parquet path (`image`, `image.bytes`); None where there is none."""
    found = image_columns(schema)
    named = [name for name in IMAGE_NAMES if name in found]
    nested = [name for name, path in found.items() if path != name]
    return found[(named or nested or list(found))[0]] if found else None


def image_columns(schema: pa.Schema) -> dict[str, str]:
    """All columns that could hold encoded images, in the file's order, each with its Parquet path."""
    return {field.name: path for field in schema if (path := _bytes_path(field))}


def _bytes_path(field: pa.Field) -> str | None:
    if _is_bytes(field.type):
        return field.name
    if pa.types.is_struct(field.type) and any(f.name == "bytes" and _is_bytes(f.type) for f in field.type):
        return f"{field.name}.bytes"
    return None


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def rows(fs: FileSystem, file: File, prefix: str) -> Iterator[Input]:
    """One input for each row, keyed by its name, or else by its number.

    Raises:
        NotATableError: the file isn't readable Parquet, or has no column of images.
    """
    url = storage.uri(fs, file.path)
    with storage.open_read(fs, file.path) as opened:
        table = opened_table(opened, url)
        if image_column(table.schema_arrow) is None:
            raise NotATableError(f"{readable(url)} has no column of images (bytes, or structs with bytes)")
        seen: dict[str, int] = {}
        for number, name in enumerate(_names(table, url)):
            plain = (name or "").lstrip("/") or f"{number:09d}"
            seen[plain] = seen.get(plain, 0) + 1
            key = plain if seen[plain] == 1 else f"{plain}#{seen[plain]}"
            yield Input(
                key=prefix + key,
                source=f"parquet://{number}::{readable(url)}",
                fingerprint=f"{file.fingerprint}#{number}",
                holder=url.encode("utf-8", "surrogateescape"),
                packing="parquet",
                offset=number,
                problem="unsafe-name: the row's name leads outside" if ".." in plain.split("/") else "",
            )


def opened_table(file: object, url: str) -> pq.ParquetFile:
    """Raises NotATableError where it isn't Parquet."""
    try:
        return pq.ParquetFile(file, pre_buffer=False)
    except Exception as fault:
        if not (isinstance(fault, (pa.ArrowException, ValueError)) or is_damage(fault)):
            raise
        raise NotATableError(f"{readable(url)} is not readable Parquet: {str(fault).splitlines()[0]}") from fault


def _names(table: pq.ParquetFile, url: str) -> Iterator[str | None]:
    try:
        yield from _stored_names(table)
    except Exception as fault:
        if not (isinstance(fault, (pa.ArrowException, UnicodeDecodeError)) or is_damage(fault)):
            raise
        raise NotATableError(f"{readable(url)} is damaged: {str(fault).splitlines()[0]}") from fault


def _stored_names(table: pq.ParquetFile) -> Iterator[str | None]:
    schema = table.schema_arrow
    text = [n for n in KEY_NAMES if n in schema.names and not pa.types.is_nested(schema.field(n).type)]
    image, _, nested = (image_column(schema) or "").partition(".")
    if text:
        column = text[0]
    elif nested and any(f.name == "path" for f in schema.field(image).type):
        column = f"{image}.path"
    else:
        yield from (None for _ in range(table.metadata.num_rows))
        return
    for batch in table.iter_batches(batch_size=8192, columns=[column], use_threads=False):
        names = batch.column(0)
        if pa.types.is_struct(names.type):
            names = pc.struct_field(names, "path")
        yield from names.cast(pa.string()).to_pylist()


def pair_columns(holder: bytes) -> tuple[str, ...]:
    """The paths of a file's two columns of images: those named A and B, or the first two; one, where there is one."""
    url = holder.decode("utf-8", "surrogateescape")
    fs, path = storage.filesystem(url)
    with storage.open_read(fs, path) as opened:
        found = image_columns(opened_table(opened, url).schema_arrow)
    return tuple(found[name] for name in ("A", "B")) if {"A", "B"} <= found.keys() else tuple(found.values())[:2]


class _Table:
    """An open Parquet file, with the row groups last read from it."""

    def __init__(self, fs: FileSystem, path: str, url: str, column: str) -> None:
        self._table = opened_table(storage.open_read(fs, path), url)
        self._column = column or image_column(self._table.schema_arrow) or ""
        facts = self._table.metadata
        self._ends = [0]
        for group in range(facts.num_row_groups):
            self._ends.append(self._ends[-1] + facts.row_group(group).num_rows)
        self._held: OrderedDict[int, pa.ChunkedArray] = OrderedDict()
        self._lock = threading.Lock()

    def image(self, row: int) -> bytes | None:
        if not 0 <= row < self._ends[-1]:
            raise Fault("truncated", f"the file has {self._ends[-1]:,} rows; this was row {row:,}")
        with self._lock:
            group = bisect_right(self._ends, row) - 1
            images = self._held.pop(group, None)
            if images is None:
                images = self._read(group)
            self._held[group] = images
            while len(self._held) > GROUPS_HELD:
                self._held.popitem(last=False)
            return images[row - self._ends[group]].as_py()

    def _read(self, group: int) -> pa.ChunkedArray:
        column = self._table.read_row_group(group, columns=[self._column], use_threads=False).column(0)
        return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


_tables: OrderedDict[tuple[str, str], _Table] = OrderedDict()
_opening = threading.Lock()


def read_row(fs: FileSystem, path: str, url: str, row: int, column: str = "") -> bytes:
    """The encoded image in a row. Neighbouring rows share one read of their row group.

    Raises:
        Fault: `corrupt`, or `empty` where the row has no bytes.
    """
    try:
        with _opening:
            table = _tables.pop((url, column), None) or _Table(fs, path, url, column)
            _tables[url, column] = table
            while len(_tables) > GROUPS_HELD:
                _tables.popitem(last=False)
        data = table.image(row)
    except Exception as fault:
        if not (isinstance(fault, (pa.ArrowException, NotATableError)) or is_damage(fault)):
            raise
        raise Fault("corrupt", f"the Parquet file can't be read: {str(fault).splitlines()[0]}") from fault
    if not data:
        raise Fault("empty", "the row has no bytes")
    return data
