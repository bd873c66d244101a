"""Rows of an output or a table by key, each of which tells of one input of a network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from recast.models.descriptor import NetworkInput
from recast.pipeline import storage
from recast.pipeline.sources import parquet, previous_output, tables
from recast.pipeline.sources.further_inputs import NO_INPUT, Found, FurtherInput, wanted
from recast.pipeline.sources.inputs import Input, readable
from recast.pipeline.sources.keyed_rows import KeyedRows
from recast.pipeline.sources.listing import File
from recast.pipeline.storage import FileSystem, StorageError

ROWS_AT_ONCE = 8192


class InputsError(StorageError):
    """Further inputs that can't be used, in a sentence."""

    exit_status = 2


def is_table(fs: FileSystem, path: str) -> bool:
    return bool(fs.isfile(path)) and path.lower().endswith((*tables.CSV, ".parquet"))


def is_output(fs: FileSystem, path: str) -> bool:
    return bool(fs.isdir(path)) and previous_output.is_output(fs, path)


def neither(each: NetworkInput, url: str) -> InputsError:
    """What to raise for a place that is neither."""
    return InputsError(f"{url} can't give {wanted(each)}: it is neither an output nor a table (.csv or .parquet)")


class ProvidedRows(ABC):
    """What they tell is found by the keys of images, or listed."""

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


def schema_of(fs: FileSystem, file: File, url: str) -> pa.Schema:
    with storage.open_read(fs, file.path) as opened:
        return parquet.opened_table(opened, file.size, url).schema_arrow


def check_column(
    each: NetworkInput, url: str, fs: FileSystem, file: File, holds: Callable[[pa.DataType], bool]
) -> None:
    """Refuse a Parquet table whose column is not of the input's kind. What a CSV holds is seen row by row."""
    if not file.path.lower().endswith(".parquet"):
        return
    schema = schema_of(fs, file, url)
    if each.name in schema.names and not holds(kind := schema.field(each.name).type):
        raise InputsError(f"the column {each.name} of {url} holds {kind}, which is no {wanted(each)}")


def check_names(each: NetworkInput) -> Callable[[Sequence[str], str], None]:
    def check(columns: Sequence[str], url: str) -> None:
        if missing := [name for name in ("key", each.name) if name not in columns]:
            names = ", ".join(str(column)[:80] for column in list(columns)[:20])
            raise InputsError(
                f"{readable(url)} can't give {wanted(each)}: it needs the columns key and {each.name}, and has no "
                f"{missing[0]}{f', but {names}' if names else ''}"
            )

    return check


def as_table(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    several = iter(lambda: list(islice(rows, ROWS_AT_ONCE)), [])
    return pa.Table.from_batches([pa.RecordBatch.from_pylist(some, schema) for some in several], schema)


def text_of(value: Any) -> str:
    return "" if value is None else str(value)
