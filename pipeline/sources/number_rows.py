"""Numbers that networks take: the codes and points of a table, and the points of the regions of an output."""

import json
import math
import numbers
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import pyarrow as pa

from recast.models.descriptor import NetworkInput
from recast.pipeline import storage
from recast.pipeline.output.index import current
from recast.pipeline.sources import parquet, previous_output, tables
from recast.pipeline.sources.further_inputs import Found, FurtherInput, wanted
from recast.pipeline.sources.listing import File, described
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.sources.provided_rows import (
    InputsError,
    ProvidedRows,
    as_table,
    check_column,
    check_names,
    is_output,
    is_table,
    neither,
    text_of,
)
from recast.pipeline.storage import FileSystem

UNFIT = "unfit-input"
"""The kind of the row of an input whose further input does not fit the network."""
SPARE_NUMBERS = 1 << 20
"""How many more numbers a row group may hold than the network takes: wrong rows become rows that say so."""


def number_rows(each: NetworkInput, url: str, *, alone: bool = False) -> "NumberRows":
    """What gives the numbers of one input of a network from a place: an output, or a table with `key` and a column of
    its name.

    Args:
        alone: the network takes no image that its points could be in: they are shares of the sides of one, 0 to 1.

    Raises:
        InputsError: the place is neither, or has nothing of the input's kind.
        StorageError: it can't be read.
    """
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"reading {url}"):
        if is_table(fs, path):
            return _NumbersOfTable(each, url, fs, described(fs.info(path)), alone=alone)
        if not is_output(fs, path):
            raise neither(each, url)
        if each.kind != "points":
            raise InputsError(f"{url} is an output, which has no {wanted(each)}; give a table with key and {each.name}")
        return _PointsOfOutput(each, url, fs, path, alone=alone)


class NumberRows(ProvidedRows, ABC):
    """Rows that tell of numbers."""

    def listed(self, over: PassedOver) -> Iterator[tuple[str, Found]]:
        """Every key with its numbers. Rows of an output that are not `ok` are counted in place of that."""
        for row in self._rows.all():
            if (status := row.get("status", "ok")) == "ok":
                yield row["key"], self._found(row)
            else:
                over.add(previous_output.not_ok(status))

    def _numbers(self, found: Any, sides: tuple[int, int] = (1, 1), *, shares: bool = False) -> Found:
        """Numbers that fit, or why they don't.

        Args:
            sides: width and height of what points become shares of.
            shares: points are such already.
        """
        try:
            values = fitting(self.each, found, shares=shares)
        except ValueError as fault:
            return Found(problem=f"{UNFIT}: {self.each.name}: {fault}")
        values = tuple(value / side for value, side in zip(values, cycle(sides), strict=False))
        text = json.dumps(values)
        return Found(fingerprint=text, given=FurtherInput(name=self.each.name, kind=self.each.kind, numbers=values))


class _PointsOfOutput(NumberRows):
    """The points of an image's best region that has any, out of the index of an output."""

    COLUMNS = ("key", "status", "source_width", "source_height")

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, path: str, *, alone: bool) -> None:
        self._alone = alone
        rows = current(fs, path, [*self.COLUMNS, "regions"], whole=True)
        points = [_best_points(regions) for regions in rows["regions"].to_pylist()]
        column = pa.array(points, pa.list_(pa.float64()))
        super().__init__(each, url, rows.select(list(self.COLUMNS)).append_column("points", column))

    def _found(self, row: Mapping[str, Any]) -> Found:
        if row["points"] is None:
            return self._missing("has no points for this key")
        if not self._alone:
            return self._numbers(row["points"])
        width, height = row["source_width"], row["source_height"]
        if not (width and height):
            return self._missing("does not tell the size of the image of this key")
        return self._numbers(row["points"], (width, height))


class _NumbersOfTable(NumberRows):
    """Numbers of codes and points: lists in a Parquet file, or in JSON in a CSV."""

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, file: File, *, alone: bool) -> None:
        self._alone = alone
        check_column(each, url, fs, file, _holds_numbers)
        _check_lengths(each, url, fs, file)
        found = tables.rows(fs, file, url, ("key", each.name), check_names(each))
        rows = ({"key": text_of(row["key"]), "numbers": _json_of(row[each.name])} for row in found)
        super().__init__(each, url, as_table(rows, pa.schema([("key", pa.string()), ("numbers", pa.string())])))

    def _found(self, row: Mapping[str, Any]) -> Found:
        if not row["numbers"]:
            return self._missing("has no numbers for this key")
        try:
            return self._numbers(json.loads(row["numbers"]), shares=self._alone)
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


def _json_of(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list) else text_of(value)


def _best_points(regions: Iterable[Mapping[str, Any]] | None) -> list[float] | None:
    with_points = [region for region in regions or () if region.get("points")]
    best = max(with_points, key=lambda region: region["score"] or 0.0, default=None)
    return None if best is None else list(best["points"])


def fitting(each: NetworkInput, found: Any, *, shares: bool = False) -> tuple[float, ...]:
    """The numbers of a code, or x and y of each point, without a third number that tells of visibility or score.

    Args:
        shares: points are shares of an image's sides, and not in its pixels.

    Raises:
        ValueError: they are none, not finite, or not what the network takes.
    """
    if not isinstance(found, (list, tuple)) or not all(isinstance(n, numbers.Real) for n in found):
        raise ValueError("it is no list of numbers")
    values = tuple(map(float, found))
    if not all(map(math.isfinite, values)):
        raise ValueError("a number is not finite")
    low, high = each.value_range
    if each.kind == "points":
        values = _of_points(values, each.channels)
        low, high = (0.0, 1.0) if shares else (-math.inf, math.inf)
    elif len(values) != each.channels:
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
