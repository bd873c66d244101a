"""Units of work: which inputs go to one worker call, and the name that makes doing a unit twice the same as once."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import islice
from typing import get_type_hints

import pyarrow as pa

from recast.pipeline.bulk.completed import Completed
from recast.pipeline.bulk.inventory_counts import InventoryCounts
from recast.pipeline.sources.inputs import Input

COMPARED_AT_ONCE = 8192
"""Inputs compared with the index at once."""
CHUNK_INPUTS = 1 << 20
"""Inputs planned before work on them begins; the plan held in memory never grows beyond this."""
UNITS_PER_WORKER = 6
"""At least so many units for each worker, so that none idles long at the end while others finish theirs."""

LEAST_UNIT = 4
"""Inputs; below that shards get too small to be worth their round trips."""


_TYPES = {str: pa.string(), bytes: pa.binary(), int: pa.int64()}
_SCHEMA = pa.schema([(name, _TYPES.get(kind, pa.string())) for name, kind in get_type_hints(Input).items()])


def pending(inputs: Iterable[Input], settled: Completed, seen: InventoryCounts) -> Iterator[Input]:
    """The inventory minus what the index has; `seen` counts what went by."""
    left = iter(inputs)
    while chunk := list(islice(left, COMPARED_AT_ONCE)):
        new = settled.unsettled(chunk)
        seen.note(chunk, settled=len(chunk) - len(new))
        yield from new


def chunks(inputs: Iterable[Input]) -> Iterator[pa.Table]:
    """The inputs in stretches that are planned, and then worked on, together; packed, at some 250 bytes an input."""
    left = iter(inputs)
    while chunks := list(_packed(islice(left, CHUNK_INPUTS))):
        yield pa.concat_tables(chunks)


def by_key(chunk: pa.Table) -> pa.Table:
    """A chunk in the order of its keys, so that nothing tells the order of the listing where keys are hidden."""
    return chunk.sort_by("key")


def _packed(inputs: Iterator[Input]) -> Iterator[pa.Table]:
    while chunk := list(islice(inputs, COMPARED_AT_ONCE)):
        yield pack_unit(chunk)


def units(chunk: pa.Table, workers: int, shard_images: int) -> Iterator[pa.Table]:
    """A chunk cut into units of at most `shard_images` inputs, small enough that all workers have several."""
    size = min(shard_images, max(LEAST_UNIT, -(-len(chunk) // (workers * UNITS_PER_WORKER))))
    for start in range(0, len(chunk), size):
        unit = chunk.slice(start, size)
        yield unit.take(pa.array(range(len(unit))))  # a copy: the slice itself would drag the whole chunk along


def unit_id(unit: Iterable[Input], model: str, spec: str, container: str) -> str:
    """A name that follows from what the unit's shards will hold: a retried unit overwrites its own, byte for byte."""
    digest = hashlib.sha256(f"{model}\n{spec}\n{container}\n".encode())
    for item in unit:
        digest.update(f"{item.key}\n{item.fingerprint}\n".encode())
    return digest.hexdigest()[:20]


def pack_unit(unit: list[Input]) -> pa.Table:
    """A unit as a table, one row an input: a block of Ray Data."""
    return pa.table({f.name: [getattr(item, f.name) for item in unit] for f in fields(Input)}, _SCHEMA)


def unpack_unit(unit: pa.Table) -> list[Input]:
    """The inputs that a unit's table holds."""
    assert set(unit.column_names) == {f.name for f in fields(Input)}
    return [Input(**row) for row in unit.to_pylist()]
