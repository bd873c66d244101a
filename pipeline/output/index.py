"""The index of an output: which fragments it has, and which of their rows are current."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recast.pipeline import storage
from recast.pipeline.storage import FileSystem

INDEX, SHARDS, RUNS, DAMAGED = "index", "shards", "runs", "damaged"
READERS = 16
"""Fragments read at once; on object storage each is a few round trips."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One `index/<shard>.parquet`; `damage` says why its rows don't count, where they don't."""

    name: str
    rows: pa.Table | None
    damage: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    """Its Parquet key-value metadata: the names behind the digests."""


def fragments(
    fs: FileSystem, output: str, columns: Sequence[str], names: Sequence[str] | None = None
) -> Iterator[Fragment]:
    """Every fragment of an output, or those named, a few at a time.

    One that can't be parsed, or whose shard is missing or cut short, comes with its damage: what it says is not to be
    believed.
    """
    if names is None:
        names = sorted(n for n in storage.sizes(fs, storage.join(output, INDEX)) if n.endswith(".parquet"))
    shards = storage.sizes(fs, storage.join(output, SHARDS))
    marks = storage.sizes(fs, storage.join(output, DAMAGED))
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(names), READERS * 4):
            few = names[start : start + READERS * 4]
            yield from pool.map(lambda name: _fragment(fs, output, name, columns, shards, marks), few)


def _fragment(
    fs: FileSystem, output: str, name: str, columns: Sequence[str], shards: Mapping[str, int], marks: Mapping[str, int]
) -> Fragment:
    data = storage.read_bytes(fs, storage.join(output, INDEX, name))
    if marks and _mark(name, data) in marks:
        return Fragment(name, None, "a check found that its shard's bytes are damaged")
    try:
        # By this thread alone: with Arrow's own threads at work, a process that ends soon after may abort (pyarrow 26).
        rows = pq.ParquetFile(io.BytesIO(data), pre_buffer=False).read(columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as fault:
        return Fragment(name, None, f"the fragment is damaged: {str(fault).splitlines()[0]}")
    facts = {k.decode(): v.decode() for k, v in (rows.schema.metadata or {}).items()}
    shard, size = facts.get("recast.shard", ""), int(facts.get("recast.shard_bytes", -1))
    if shard and shard not in shards:
        return Fragment(name, None, f"its shard {shard} is missing")
    if shard and shards[shard] != size:
        return Fragment(name, None, f"its shard {shard} has {shards[shard]:,} of {size:,} bytes")
    return Fragment(name, rows, about=facts)


def current(fs: FileSystem, output: str, columns: Sequence[str]) -> pa.Table:
    """The current view, one row per key: of several rows the one that finished last."""
    needed = list(dict.fromkeys([*columns, "key", "finished_at"]))
    tables = [f.rows for f in fragments(fs, output, needed) if f.rows is not None]
    if not tables:
        return pa.table({c: [] for c in columns})
    rows = pa.concat_tables([t.replace_schema_metadata(None) for t in tables], promote_options="permissive")
    return rows.take(_newest(rows)).select(list(columns))


def _newest(rows: pa.Table) -> pa.Array:
    """Row numbers of the newest row of each key, in order of the keys."""
    numbered = rows.select(["key", "finished_at"]).append_column("row", pa.array(np.arange(len(rows))))
    ordered = numbered.sort_by([("key", "ascending"), ("finished_at", "ascending")])
    keys = ordered["key"].combine_chunks()
    last = np.ones(len(keys), dtype=bool)
    if len(keys) > 1:
        last[:-1] = pc.not_equal(keys[:-1], keys[1:]).to_numpy(zero_copy_only=False)
    return ordered["row"].filter(pa.array(last))


def key_hashes(texts: Iterable[str]) -> np.ndarray:
    """64 bits of each text, as uint64 [N]."""
    digests = bytearray()
    for text in texts:
        digests += hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.frombuffer(digests, np.uint64)


def mark_damaged(fs: FileSystem, output: str, name: str) -> None:
    """Make a fragment's rows not count, since its shard's bytes are not what they say: a run does them again.

    A mark holds for the fragment as it is now, and not for one that a run puts in its place.
    """
    data = storage.read_bytes(fs, storage.join(output, INDEX, name))
    storage.write_bytes(fs, storage.join(output, DAMAGED, _mark(name, data)), b"damaged")


def stale_marks(fs: FileSystem, output: str) -> set[str]:
    """Marks of fragments that are gone, or others by now."""
    marks = set(storage.sizes(fs, storage.join(output, DAMAGED)))
    if marks:
        for name in storage.sizes(fs, storage.join(output, INDEX)):
            if any(mark.startswith(f"{name.rpartition('.')[0]}-") for mark in marks):
                marks.discard(_mark(name, storage.read_bytes(fs, storage.join(output, INDEX, name))))
    return marks


def _mark(name: str, data: bytes) -> str:
    return f"{name.rpartition('.')[0]}-{hashlib.blake2b(data, digest_size=8).hexdigest()}"


def write_fragment(fs: FileSystem, output: str, shard: str, rows: pa.Table) -> None:
    """Commit a shard: from here on its rows count."""
    data = io.BytesIO()
    pq.write_table(rows, data, compression="zstd")
    name = shard.rpartition(".")[0]
    storage.write_bytes(fs, storage.join(output, INDEX, f"{name}.parquet"), data.getvalue())
