"""Parquet files that hold images: rows with encoded bytes, plain or in the Hugging Face form `{bytes, path}`."""

import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recast.pipeline import storage
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources.compressed import is_damage
from recast.pipeline.sources.inputs import Input, Keys, readable
from recast.pipeline.sources.listing import File
from recast.pipeline.sources.parquet_pages import TooLargeError, Window, checked, chunks
from recast.pipeline.storage import FileSystem, StorageError

IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "content")
"""Where several columns could hold images, the first of these does."""
KEY_NAMES = ("key", "__key__", "file_name", "filename", "path", "name", "id")
"""Columns that name an image, the first that is there; after them the struct's own `path`, then the row's number."""
GROUPS_HELD = 2
"""Row groups in a worker's memory: its inputs come in the order of the rows."""
HELD_BYTES = 1 << 30
"""A row group that may unpack to more is gone through in pieces."""
PIECE_BYTES = 128 << 20
MOST_FOOTER_BYTES = 16 << 20
MOST_NAME_BYTES = 1 << 16
BATCH_ROWS = 8192


class NotATableError(StorageError):
    """A file that isn't Parquet, or one without images."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{readable(url)} {why}")
        self.why = why


class NoImagesError(NotATableError):
    """A sound Parquet file without a column of images: a table about something else."""


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


def rows(fs: FileSystem, file: File, prefix: str, *, root: str, keys: Keys | None = None) -> Iterator[Input]:
    """One input for each row, keyed by its name, or else by its number.

    Args:
        root: what gives the file's file system again (`storage.root`).
        keys: those that other files below the prefix have.

    Raises:
        NotATableError: the file isn't readable Parquet.
        NoImagesError: it has no column of images.
    """
    url = storage.uri(fs, file.path, root)
    keys = keys or Keys()
    with storage.open_read(fs, file.path) as opened:
        table = opened_table(opened, file.size, url)
        if image_column(table.schema_arrow) is None:
            raise NoImagesError(url, "has no column of images (bytes, or structs with bytes)")
        if table.metadata.num_rows > file.size:
            raise NotATableError(url, f"is damaged: {table.metadata.num_rows:,} rows in {file.size:,} bytes")
        for number, name in enumerate(_names(opened, file.size, table, url)):
            plain = readable((name or "").lstrip("/")) or f"{number:09d}"
            yield Input(
                key=prefix + keys.own(plain)[0],
                source=f"parquet://{number}::{readable(url)}",
                fingerprint=f"{file.fingerprint}#{number}",
                root=root,
                container=file.path.encode("utf-8", "surrogateescape"),
                layout="parquet",
                offset=number,
                problem="unsafe-name: the row's name leads outside" if ".." in plain.split("/") else "",
            )


def opened_table(file: Any, size: int, url: str) -> pq.ParquetFile:
    """Raises NotATableError where it isn't Parquet."""
    try:
        file.seek(max(size - 8, 0))
        if (footer := int.from_bytes(file.read(4), "little")) > MOST_FOOTER_BYTES:
            raise NotATableError(url, f"is not readable Parquet: its metadata have {footer:,} bytes")
        file.seek(0)
        return pq.ParquetFile(file, pre_buffer=False)
    except NotATableError:
        raise
    except Exception as fault:
        raise _unreadable(fault, url, "is not readable Parquet") from fault


def _unreadable(fault: Exception, url: str, what: str) -> Exception:
    """The fault of a table, for what was raised while it was read; storage's own faults as they are."""
    if storage.is_storage_fault(fault) and not is_damage(fault):
        return fault
    return NotATableError(url, f"{what}: {str(fault).partition(chr(10))[0] or type(fault).__name__}")


def _names(file: Any, size: int, table: pq.ParquetFile, url: str) -> Iterator[str | None]:
    column = _name_column(table.schema_arrow)
    if not column:
        yield from (None for _ in range(table.metadata.num_rows))
        return
    for batch in batches(file, size, table, [column], url):
        names = batch.column(0)
        if pa.types.is_struct(names.type):
            names = pc.struct_field(names, "path")
        try:
            texts = names.cast(pa.string()).to_pylist()
        except (pa.ArrowException, UnicodeDecodeError) as fault:
            raise _unreadable(fault, url, "is damaged") from fault
        yield from texts


def _name_column(schema: pa.Schema) -> str:
    text = [n for n in KEY_NAMES if n in schema.names and not pa.types.is_nested(schema.field(n).type)]
    if text:
        return text[0]
    image, _, nested = (image_column(schema) or "").partition(".")
    return f"{image}.path" if nested and any(f.name == "path" for f in schema.field(image).type) else ""


def batches(file: Any, size: int, table: pq.ParquetFile, columns: Sequence[str], url: str) -> Iterator[pa.RecordBatch]:
    """Columns of short values, a few thousand rows at a time; what they unpack to is looked at before.

    Raises:
        NotATableError: damage, or a value that is too long for a name.
    """
    try:
        found_chunks = chunks(file, size)
        for group in range(table.metadata.num_row_groups):
            window, most = Window(file, size), 1
            for path, chunk in found_chunks[group].items():
                if any(path == name or path.startswith(f"{name}.") for name in columns):
                    start, data, found = checked(file, size, chunk, MOST_NAME_BYTES)
                    window.held.append((start, data))
                    most = max(most, found.dictionary_bytes)
            rows = max(1, min(BATCH_ROWS, PIECE_BYTES // most))
            again = pq.ParquetFile(window, metadata=table.metadata, pre_buffer=False)
            yield from again.iter_batches(batch_size=rows, row_groups=[group], columns=list(columns), use_threads=False)
    except NotATableError:
        raise
    except Exception as fault:
        raise _unreadable(fault, url, "is damaged") from fault


def pair_columns(item: Input) -> tuple[str, ...]:
    """The paths of two columns of images in a row's file: those named A and B, or the first two; one, where there is
    one.
    """
    fs, path = item.place()
    with storage.open_read(fs, path) as opened:
        found = image_columns(opened_table(opened, fs.size(path), path).schema_arrow)
    return tuple(found[name] for name in ("A", "B")) if {"A", "B"} <= found.keys() else tuple(found.values())[:2]


class _Table:
    """An open Parquet file, with what was last read from it."""

    def __init__(self, fs: FileSystem, path: str, column: str, max_bytes: int) -> None:
        self._file, self._size = storage.open_read(fs, path), fs.size(path)
        self._table = opened_table(self._file, self._size, path)
        self._column = column or image_column(self._table.schema_arrow) or ""
        self._max_bytes = max_bytes
        self._chunks = chunks(self._file, self._size)
        facts = self._table.metadata
        self._ends = [0]
        for group in range(facts.num_row_groups):
            self._ends.append(self._ends[-1] + facts.row_group(group).num_rows)
        self._held: OrderedDict[int, _Pieces] = OrderedDict()
        self._lock = threading.Lock()

    def image(self, row: int) -> bytes | None:
        if not 0 <= row < self._ends[-1]:
            raise InputError("truncated", f"the file has {self._ends[-1]:,} rows; this was row {row:,}")
        with self._lock:
            group = bisect_right(self._ends, row) - 1
            pieces = self._held.pop(group, None)
            if pieces is None or row - self._ends[group] < pieces.first:
                pieces = self._pieces(group)
            self._held[group] = pieces
            while len(self._held) > GROUPS_HELD:
                self._held.popitem(last=False)
            return pieces.value(row - self._ends[group])

    def _pieces(self, group: int) -> "_Pieces":
        """A row group's images: all of them at once, or if they may be too many bytes for that a few at a time."""
        facts = self._table.metadata.row_group(group)
        chunk = self._chunks[group][self._column]
        start, data, found = checked(self._file, self._size, chunk, self._max_bytes)
        window = Window(self._file, self._size)
        window.held.append((start, data))
        table = pq.ParquetFile(window, metadata=self._table.metadata, pre_buffer=False)
        few = found.bytes + found.dictionary_bytes * facts.num_rows > HELD_BYTES
        rows = PIECE_BYTES // max(found.largest_bytes, found.dictionary_bytes) if few else facts.num_rows
        read = table.iter_batches(
            batch_size=max(rows, 1), row_groups=[group], columns=[self._column], use_threads=False
        )
        return _Pieces(read if few else iter(list(read)))


class _Pieces:
    """A row group's images as they go by, the last two pieces of them at hand: several threads ask at once."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: deque[tuple[int, pa.Array]] = deque(maxlen=2)
        self._end = 0

    @property
    def first(self) -> int:
        """The first row at hand; rows before it have gone by."""
        return self._held[0][0] if self._held else 0

    def value(self, row: int) -> bytes | None:
        while row >= self._end:
            batch = next(self._batches, None)
            if batch is None:
                raise InputError("truncated", "the row group ends before this row")
            images = batch.column(0)
            images = pc.struct_field(images, "bytes") if pa.types.is_struct(images.type) else images
            self._held.append((self._end, images))
            self._end += len(images)
        start, images = next(held for held in self._held if held[0] <= row < held[0] + len(held[1]))
        return images[row - start].as_py()


_tables: OrderedDict[tuple[str, str, str], _Table] = OrderedDict()
_opening = threading.Lock()


def read_row(fs: FileSystem, path: str, item: Input, max_bytes: int) -> bytes:
    """The encoded image in a row. Neighbouring rows share one read of their row group.

    Raises:
        InputError: `corrupt`, `too-large`, or `empty` where the row has no bytes.
    """
    name = (item.root, path, item.column)
    try:
        with _opening:
            table = _tables.pop(name, None) or _Table(fs, path, item.column, max_bytes)
            _tables[name] = table
            while len(_tables) > GROUPS_HELD:
                _tables.popitem(last=False)
        data = table.image(item.offset)
    except TooLargeError as fault:
        raise InputError("too-large", str(fault)) from fault
    except Exception as fault:
        if isinstance(fault, InputError) or (storage.is_storage_fault(fault) and not is_damage(fault)):
            raise
        why = str(fault).partition("\n")[0] or type(fault).__name__
        raise InputError("corrupt", f"the Parquet file can't be read: {why}") from fault
    if not data:
        raise InputError("empty", "the row has no bytes")
    return data
