"""Where further inputs of a network come from: another output, or a table, each by the keys of the images."""

import hashlib
import json
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from recast.models.descriptor import NetworkInput
from recast.pipeline import storage
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.index import SHARDS, current
from recast.pipeline.sources import parquet, previous_output, tables
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.further_inputs import NO_INPUT, Found, FurtherInput, Provider, wanted
from recast.pipeline.sources.inputs import Input, readable
from recast.pipeline.sources.keyed_rows import KeyedRows
from recast.pipeline.sources.listing import File, described
from recast.pipeline.storage import FileSystem, StorageError

UNFIT = "unfit-input"
"""The kind of the row of an input whose further input does not fit the network."""
MOST_BYTES = 1 << 30
"""The size of the largest image in a table that is read to know its content."""
ROWS_AT_ONCE = 8192
SPARE_NUMBERS = 1 << 20
"""How many more numbers a row group may hold than the network takes: wrong rows become rows that say so."""
PIXELS = ("image", "labels")
"""Kinds that files hold."""


class InputsError(StorageError):
    """Further inputs that can't be used, in a sentence."""

    exit_status = 2


def provider(each: NetworkInput, url: str, schemes: Collection[str] = ()) -> Provider:
    """What gives one input of a network from a place: an output, or a table with `key` and a column of its name.

    Args:
        schemes: of URIs that a table may name beside those of its own.

    Raises:
        InputsError: the place is neither, or has nothing of the input's kind.
        StorageError: it can't be read.
    """
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"reading {url}"):
        if fs.isfile(path) and path.lower().endswith((*tables.CSV, ".parquet")):
            return _table(each, url, fs, described(fs.info(path)), schemes)
        if fs.isdir(path) and previous_output.is_output(fs, path):
            if each.kind == "points":
                return _PointsOfOutput(each, url, fs, path)
            if each.kind in PIXELS:
                return _ImagesOfOutput(each, url, fs, path)
            raise InputsError(f"{url} is an output, which has no {wanted(each)}; give a table with key and {each.name}")
    raise InputsError(f"{url} can't give {wanted(each)}: it is neither an output nor a table (.csv or .parquet)")


class _Rows(ABC):
    """Rows by key, each of which tells of one further input."""

    def __init__(self, each: NetworkInput, url: str, rows: pa.Table) -> None:
        self.each, self.url, self._rows = each, url, KeyedRows(rows)
        if (key := self._rows.twice()) is not None:
            raise InputsError(f"{url} has several rows of the key {key}; it must be clear which {each.name} is meant")

    def of(self, keys: Sequence[str]) -> list[Found]:
        return [self._missing() if row is None else self._found(row) for row in self._rows.of(keys)]

    @abstractmethod
    def _found(self, row: Mapping[str, Any]) -> Found:
        """What a row tells of."""

    def _missing(self, why: str = "has nothing of this key") -> Found:
        return Found(problem=f"{NO_INPUT}: the network takes {wanted(self.each)}, and {readable(self.url)} {why}")

    def _place(self, place: Input) -> Found:
        given = FurtherInput(name=self.each.name, kind=self.each.kind, place=place)
        return Found(fingerprint=place.fingerprint, given=given)

    def _numbers(self, found: Any) -> Found:
        """Numbers that fit, or why they don't."""
        try:
            values = fitting(self.each, found)
        except ValueError as fault:
            return Found(problem=f"{UNFIT}: {self.each.name}: {fault}")
        text = json.dumps(values)
        return Found(fingerprint=text, given=FurtherInput(name=self.each.name, kind=self.each.kind, numbers=values))


class _ImagesOfOutput(_Rows):
    """Images or label maps out of the shards of an output."""

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, path: str) -> None:
        self._fs, self._path, self._root = fs, path, storage.root(url)
        self._shards = storage.sizes(fs, storage.join(path, SHARDS))
        super().__init__(each, url, current(fs, path, previous_output.COLUMNS, whole=True))

    def _found(self, row: Mapping[str, Any]) -> Found:
        if row["status"] != "ok":
            return self._missing(f"has a row for this key that is {row['status']}")
        if row["shard"] is None:
            return self._missing("has no image for this key")
        return self._place(previous_output.image(self._fs, self._path, self._root, row, self._shards))


class _PointsOfOutput(_Rows):
    """The points of an image's best region that has any, out of the index of an output."""

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, path: str) -> None:
        rows = current(fs, path, ["key", "status", "regions"], whole=True)
        points = [_best_points(regions) for regions in rows["regions"].to_pylist()]
        column = pa.array(points, pa.list_(pa.float64()))
        super().__init__(each, url, rows.select(["key", "status"]).append_column("points", column))

    def _found(self, row: Mapping[str, Any]) -> Found:
        if row["points"] is None:
            return self._missing("has no points for this key")
        return self._numbers(row["points"])


def _best_points(regions: Iterable[Mapping[str, Any]] | None) -> list[float] | None:
    with_points = [region for region in regions or () if region.get("points")]
    best = max(with_points, key=lambda region: region["score"] or 0.0, default=None)
    return None if best is None else list(best["points"])


def fitting(each: NetworkInput, found: Any) -> tuple[float, ...]:
    """The numbers of a code, or x and y of each point, without a third number that tells of visibility or score.

    Raises:
        ValueError: they are none, not finite, or not what the network takes.
    """
    if not isinstance(found, (list, tuple)) or not all(isinstance(n, numbers.Real) for n in found):
        raise ValueError("it is no list of numbers")
    values = tuple(map(float, found))
    if not all(map(math.isfinite, values)):
        raise ValueError("a number is not finite")
    if each.kind == "points":
        return _of_points(values, each.channels)
    low, high = each.value_range
    if len(values) != each.channels:
        raise ValueError(f"it has {len(values):,} numbers, and the network takes {each.channels:,}")
    if odd := [value for value in values if not low <= value <= high]:
        raise ValueError(f"{odd[0]:g} is in it, and the network takes {low:g} to {high:g}")
    return values


def _of_points(values: Sequence[float], count: int) -> tuple[float, ...]:
    if len(values) == 3 * count:
        return tuple(value for n, value in enumerate(values) if n % 3 < 2)
    if len(values) != 2 * count:
        raise ValueError(f"it has {len(values):,} numbers, and the network takes {count:,} points (x, y)")
    return tuple(values)


def _table(each: NetworkInput, url: str, fs: FileSystem, file: File, schemes: Collection[str]) -> Provider:
    """By what the column of a table holds: names of files, encoded images, or lists of numbers."""
    if each.kind not in PIXELS:
        return _Lists(each, url, fs, file)
    if file.path.lower().endswith(".parquet") and each.name in parquet.image_columns(_schema(fs, file, url)):
        return _StoredImages(each, url, fs, file)
    return _NamedFiles(each, url, fs, file, schemes)


def _schema(fs: FileSystem, file: File, url: str) -> pa.Schema:
    with storage.open_read(fs, file.path) as opened:
        return parquet.opened_table(opened, file.size, url).schema_arrow


def _check(each: NetworkInput, url: str, fs: FileSystem, file: File, holds: Callable[[pa.DataType], bool]) -> None:
    """Refuse a Parquet table whose column is not of the input's kind. What a CSV holds is seen row by row."""
    if not file.path.lower().endswith(".parquet"):
        return
    schema = _schema(fs, file, url)
    if each.name in schema.names and not holds(kind := schema.field(each.name).type):
        raise InputsError(f"the column {each.name} of {url} holds {kind}, which is no {wanted(each)}")


def _check_names(each: NetworkInput) -> Callable[[Sequence[str], str], None]:
    def check(columns: Sequence[str], url: str) -> None:
        if missing := [name for name in ("key", each.name) if name not in columns]:
            names = ", ".join(str(column)[:80] for column in list(columns)[:20])
            raise InputsError(
                f"{readable(url)} can't give {wanted(each)}: it needs the columns key and {each.name}, and has no "
                f"{missing[0]}{f', but {names}' if names else ''}"
            )

    return check


def _as_table(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    several = iter(lambda: list(islice(rows, ROWS_AT_ONCE)), [])
    return pa.Table.from_batches([pa.RecordBatch.from_pylist(some, schema) for some in several], schema)


class _NamedFiles(_Rows):
    """Files that a table names, as an inventory does."""

    COLUMNS = ("size", *tables.ETAG_NAMES, *tables.CHANGED_NAMES)

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, file: File, schemes: Collection[str]) -> None:
        _check(each, url, fs, file, lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind))
        self._reader = tables.RowReader(fs, file, storage.root(url), schemes)
        found = tables.rows(fs, file, url, ("key", each.name, *self.COLUMNS), _check_names(each))
        schema = pa.schema([(name, pa.string()) for name in ("key", "uri", *self.COLUMNS)])
        rows = (
            {"key": _text(row["key"]), "uri": _text(row[each.name])}
            | {name: _text(row.get(name)) for name in self.COLUMNS}
            for row in found
        )
        super().__init__(each, url, _as_table(rows, schema))

    def _found(self, row: Mapping[str, Any]) -> Found:
        if not row["uri"]:
            return self._missing("names nothing for this key")
        place = self._reader.input(row, 0)
        found = self._place(place)
        return Found(fingerprint=f"{place.source} {place.fingerprint}", given=found.given)


class _StoredImages(_Rows):
    """Encoded images in a column of a Parquet file. They are read once here, so that their fingerprints are digests of
    them: a table that is written anew changes those inputs alone whose images are others."""

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, file: File) -> None:
        self._column = parquet.image_columns(_schema(fs, file, url))[each.name]
        self._container, self._root = file.path.encode("utf-8", "surrogateescape"), storage.root(url)
        found = tables.rows(fs, file, url, ("key",), lambda names, _: _check_names(each)([*names, each.name], url))
        rows = ({"key": _text(row["key"]), "row": n, "sha256": self._digest(n)} for n, row in enumerate(found))
        schema = pa.schema([("key", pa.string()), ("row", pa.int64()), ("sha256", pa.string())])
        super().__init__(each, url, _as_table(rows, schema))

    def _digest(self, row: int) -> str:
        """The digest of an image's bytes; empty where there are none that could be read."""
        try:
            return hashlib.sha256(read(self._image(row), MOST_BYTES)).hexdigest()
        except InputError:
            return ""

    def _image(self, row: int, sha256: str = "") -> Input:
        return Input(
            key=f"(row {row})", source=f"parquet://{row}", fingerprint=f"sha256:{sha256}", sha256=sha256,
            root=self._root, container=self._container, layout="parquet", offset=row, column=self._column,
        )  # fmt: skip

    def _found(self, row: Mapping[str, Any]) -> Found:
        if not row["sha256"]:
            return self._missing("has no image for this key that could be read")
        return self._place(self._image(row["row"], row["sha256"]))


class _Lists(_Rows):
    """Numbers of codes and points: lists in a Parquet file, or in JSON in a CSV."""

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, file: File) -> None:
        _check(each, url, fs, file, _holds_numbers)
        _check_lengths(each, url, fs, file)
        found = tables.rows(fs, file, url, ("key", each.name), _check_names(each))
        rows = ({"key": _text(row["key"]), "numbers": _text_of(row[each.name])} for row in found)
        super().__init__(each, url, _as_table(rows, pa.schema([("key", pa.string()), ("numbers", pa.string())])))

    def _found(self, row: Mapping[str, Any]) -> Found:
        if not row["numbers"]:
            return self._missing("has no numbers for this key")
        try:
            return self._numbers(json.loads(row["numbers"]))
        except (ValueError, RecursionError):
            return self._numbers(None)


def _check_lengths(each: NetworkInput, url: str, fs: FileSystem, file: File) -> None:
    """Refuse a Parquet table whose lists are far longer than the network's, before memory is taken for them."""
    if not file.path.lower().endswith(".parquet"):
        return
    with storage.open_read(fs, file.path) as opened:
        facts = parquet.opened_table(opened, file.size, url).metadata
    for group in map(facts.row_group, range(facts.num_row_groups)):
        most = SPARE_NUMBERS + 3 * each.channels * group.num_rows
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema.partition(".")[0] == each.name and column.num_values > most:
                raise InputsError(
                    f"the column {each.name} of {url} holds {column.num_values:,} numbers in {group.num_rows:,} rows; "
                    f"{wanted(each)} takes {each.channels:,} a row"
                )


def _holds_numbers(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)


def _text_of(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
