"""The index of an output: which fragments it has, which rows are current, and which inputs are settled."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.images.inputs import Input
from pipeline.storage import FileSystem

INDEX, SHARDS, RUNS = "index", "shards", "runs"
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


def fragments(fs: FileSystem, output: str, columns: Sequence[str]) -> Iterator[Fragment]:
    """Every fragment of an output, a few at a time. One that can't be parsed, or whose shard is missing or cut short,
    comes with its damage: what it says is not to be believed.
    """
    names = sorted(n for n in storage.sizes(fs, storage.join(output, INDEX)) if n.endswith(".parquet"))
    shards = storage.sizes(fs, storage.join(output, SHARDS))
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(names), READERS * 4):
            few = names[start : start + READERS * 4]
            yield from pool.map(lambda name: _fragment(fs, output, name, columns, shards), few)


def _fragment(fs: FileSystem, output: str, name: str, columns: Sequence[str], shards: dict[str, int]) -> Fragment:
    data = storage.read_bytes(fs, storage.join(output, INDEX, name))
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


@dataclass(slots=True)
class Settled:
    """Which inputs need no work: 64-bit hashes of keys, sorted, beside those of their fingerprints (16 bytes an input).

    An input is taken for settled only if both hashes agree, so a false match has odds of 2^-128 a pair.
    """

    keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    prints: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    damaged: tuple[Fragment, ...] = ()
    """Fragments that don't count; a finished run replaces them."""
    makers: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    """The (model, spec) pairs of the rows seen, each with what a fragment says of it."""

    def __len__(self) -> int:
        return len(self.keys)

    def unsettled(self, inputs: Sequence[Input]) -> list[Input]:
        """Those of the inputs that are new or changed."""
        if not len(self.keys):
            return list(inputs)
        keys = _hashes(i.key for i in inputs)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        prints = _hashes(i.fingerprint for i in inputs)
        same = (self.keys[places] == keys) & (self.prints[places] == prints)
        return [item for item, settled in zip(inputs, same, strict=True) if not settled]


def settled(fs: FileSystem, output: str, *, retry_failed: bool, maker: tuple[str, str] | None = None) -> Settled:
    """What an output has settled; with `maker`, by that (model, spec) alone. Memory: some 40 bytes a row."""
    parts: list[tuple[np.ndarray, ...]] = []
    damaged: list[Fragment] = []
    makers: dict[tuple[str, str], Mapping[str, str]] = {}
    columns = ("key", "fingerprint", "status", "model", "spec", "finished_at")
    for fragment in fragments(fs, output, columns):
        if fragment.rows is None:
            damaged.append(fragment)
            continue
        rows = fragment.rows
        pairs = rows.group_by(["model", "spec"]).aggregate([])
        for pair in zip(pairs["model"].to_pylist(), pairs["spec"].to_pylist(), strict=True):
            makers[pair] = fragment.about
        if maker:
            ours = pc.and_(pc.equal(rows["model"], maker[0]), pc.equal(rows["spec"], maker[1]))
            rows = rows.filter(ours)
        parts.append(_hashed(rows, retry_failed))
    found = Settled(damaged=tuple(damaged), makers=makers)
    if parts:
        found.keys, found.prints = _newest_hashes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return found


def _hashed(rows: pa.Table, retry_failed: bool) -> tuple[np.ndarray, ...]:
    keys = _hashes(rows["key"].to_pylist())
    prints = _hashes(rows["fingerprint"].to_pylist())
    times = rows["finished_at"].cast(pa.int64()).to_numpy()
    counts = np.ones(len(rows), bool)
    if retry_failed:
        counts = pc.not_equal(rows["status"], "failed").to_numpy().astype(bool)
    return keys, prints, times, counts


def _newest_hashes(
    keys: np.ndarray, prints: np.ndarray, times: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((times, keys))
    keys, prints, counts = keys[order], prints[order], counts[order]
    last = np.append(keys[1:] != keys[:-1], True) if len(keys) else np.empty(0, bool)
    return keys[last & counts], prints[last & counts]


def _hashes(texts: Iterable[str]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=8).digest() for t in texts)
    return np.frombuffer(digests, dtype=np.uint64)


def write_fragment(fs: FileSystem, output: str, shard: str, rows: pa.Table) -> None:
    """Commit a shard: from here on its rows count."""
    data = io.BytesIO()
    pq.write_table(rows, data, compression="zstd")
    name = shard.rpartition(".")[0]
    storage.write_bytes(fs, storage.join(output, INDEX, f"{name}.parquet"), data.getvalue())
