"""The index of an output: which fragments it has, and which of their rows are current."""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline import storage
from recast.pipeline.output.fragment import MAX_BYTES, DamageError, decoded, encoded
from recast.pipeline.storage import FileSystem

ModelAndSpec = tuple[str, str]
"""The digests in a row's columns `model` and `spec`: whose row it is."""
INDEX, SHARDS, FILES, RUNS, DAMAGED = "index", "shards", "files", "runs", "damaged"
PLACE = ("shard", "offset", "length", "member")
"""The columns that tell where a result's bytes lie."""
STEM = "stem"
"""What `current` gives as a column beside those of the index: the name of a row's fragment, without its ending."""
OWN_NAME = re.compile(r"[0-9a-f]{20}-[0-9a-z-]+\.(tar|parquet)")
"""What Recast calls fragments, shards and sidecars. Files of other names in their folders are somebody else's."""
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


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of a file of the output, which holds a result's bytes."""

    path: str
    """Below the output."""
    offset: int
    length: int


def place_of(row: Mapping[str, Any]) -> Place | None:
    """Where the bytes of a row (its columns `PLACE`) lie, in a shard or in a file of their own; None if it has none."""
    if row["length"] is None:
        return None
    if row["shard"] is None:
        return Place(f"{FILES}/{row['member']}", 0, row["length"])
    return Place(f"{SHARDS}/{row['shard']}", row["offset"], row["length"])


def has_file(rows: pa.Table) -> pa.ChunkedArray:
    """bool for each row: whether its bytes are a file of their own."""
    return pc.and_(pc.is_valid(rows["length"]), pc.is_null(rows["shard"]))


def stem_of(digest: str, epoch: int, part: int = 0) -> str:
    """What a shard, its fragment and its sidecars are called: by what they hold, and by the turn that writes them, so
    that no turn ever writes over another's files."""
    return f"{digest}-{epoch}-{part:03d}"


def epoch_of(name: str) -> int:
    """The turn that wrote a file of this name; 0 where the name tells of none."""
    found = re.fullmatch(r"[0-9a-f]+-([0-9]{1,16})-[0-9]+(\.[a-z]+)?", name)
    return int(found[1]) if found else 0


def listed(fs: FileSystem, output: str) -> dict[str, int]:
    """The fragments of an output and their sizes, oldest turn first."""
    sizes = storage.sizes(fs, storage.join(output, INDEX))
    names = sorted((n for n in sizes if n.endswith(".parquet")), key=lambda name: (epoch_of(name), name))
    return {name: sizes[name] for name in names}


def fragments(
    fs: FileSystem, output: str, columns: Sequence[str], names: Sequence[str] | None = None
) -> Iterator[Fragment]:
    """Every fragment of an output, or those named, a few at a time, oldest turn first.

    One that can't be parsed, or whose shard is missing or cut short, comes with its damage: what it says is not to be
    believed.
    """
    sizes = listed(fs, output) if names is None else {}
    few_at_once = list(sizes) if names is None else sorted(names, key=lambda name: (epoch_of(name), name))
    shards = storage.sizes(fs, storage.join(output, SHARDS))
    marks = storage.sizes(fs, storage.join(output, DAMAGED))

    def read(name: str) -> Fragment:
        if sizes.get(name, 0) > MAX_BYTES:
            return Fragment(name, None, f"the fragment has {sizes[name]:,} bytes; {MAX_BYTES:,} is the most")
        return _fragment(fs, output, name, columns, shards, marks)

    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(few_at_once), READERS * 4):
            yield from pool.map(read, few_at_once[start : start + READERS * 4])


def _fragment(
    fs: FileSystem, output: str, name: str, columns: Sequence[str], shards: Mapping[str, int], marks: Mapping[str, int]
) -> Fragment:
    data = storage.read_bytes(fs, storage.join(output, INDEX, name))
    if marks and _mark(name, data) in marks:
        return Fragment(name, None, "a check found that its shard's bytes are damaged")
    try:
        rows, about = decoded(data, name, columns)
    except DamageError as fault:
        return Fragment(name, None, str(fault))
    if (shard := about.get("recast.shard")) is None:
        return Fragment(name, rows, about=about)
    size = int(about["recast.shard_bytes"])
    if shard not in shards:
        return Fragment(name, None, f"its shard {shard} is missing")
    if shards[shard] != size:
        return Fragment(name, None, f"its shard {shard} has {shards[shard]:,} of {size:,} bytes")
    return Fragment(name, rows, about=about)


def current(fs: FileSystem, output: str, columns: Sequence[str], *, whole: bool = False) -> pa.Table:
    """The current view, one row per key, in order of the keys.

    Args:
        columns: of the index, and `STEM`.
        whole: refuse an output with a damaged fragment, whose rows don't count otherwise.

    Raises:
        StorageError: a fragment is damaged, and `whole` was asked for.
    """
    found = fragments(fs, output, _needed(columns))
    return _view(((f.name, _whole(fs, output, f)) for f in found if whole or f.rows is not None), columns)


def current_and_damage(fs: FileSystem, output: str, columns: Sequence[str]) -> tuple[pa.Table, int]:
    """The current view of what is sound, as `current` gives it, and how many fragments are damaged."""
    found = list(fragments(fs, output, _needed(columns)))
    return _view(((f.name, f.rows) for f in found if f.rows is not None), columns), sum(f.rows is None for f in found)


def _needed(columns: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys([*columns, "key", "epoch", "finished_at"]) if name != STEM]


def _view(named: Iterable[tuple[str, pa.Table]], columns: Sequence[str]) -> pa.Table:
    """The current rows of some fragments by their names."""
    tables = [_with_stem(rows, name) if STEM in columns else rows for name, rows in named]
    if not tables:
        return pa.table({c: [] for c in columns})
    rows = pa.concat_tables([t.replace_schema_metadata(None) for t in tables], promote_options="permissive")
    codes = [chunk.indices for chunk in rows["key"].dictionary_encode().chunks]
    keys = pa.chunked_array(codes, pa.int32()).to_numpy()
    return rows.filter(pa.array(_current_of(rows, keys))).sort_by("key").select(list(columns))


def _with_stem(rows: pa.Table, name: str) -> pa.Table:
    return rows.append_column(STEM, pa.repeat(pa.scalar(name.rpartition(".")[0]), len(rows)))


def _whole(fs: FileSystem, output: str, fragment: Fragment) -> pa.Table:
    if fragment.rows is None:
        name = storage.join(output, INDEX, fragment.name)
        raise storage.StorageError(
            f"{storage.uri(fs, name)} is damaged ({fragment.damage}), and the images that it tells of would be left "
            "out; run the job that made this output again, which does them again, or move that file away to continue "
            "without them"
        )
    return fragment.rows


def current_row(fs: FileSystem, output: str, key: str, columns: Sequence[str]) -> dict[str, Any] | None:
    """The current row of one key; None where the output has none."""
    needed = list(dict.fromkeys([*columns, "key", "epoch", "finished_at"]))
    found = [f.rows.filter(pc.equal(f.rows["key"], key)) for f in fragments(fs, output, needed) if f.rows is not None]
    found = [rows.replace_schema_metadata(None) for rows in found if len(rows)]
    if not found:
        return None
    rows = pa.concat_tables(found, promote_options="permissive")
    return rows.filter(pa.array(_current_of(rows, np.zeros(len(rows), np.int64)))).to_pylist()[0]


def _current_of(rows: pa.Table, keys: np.ndarray) -> np.ndarray:
    return current_mask(keys, rows["epoch"].to_numpy(), rows["finished_at"].cast(pa.int64()).to_numpy())


def current_mask(keys: np.ndarray, epochs: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Which rows are current, as bool for each: of several rows of a key the one of the highest (epoch, finished_at).

    Of rows that agree in all of that the last one counts. Two such are a row and its copy by a compaction that was
    stopped on its way; of fragments that come oldest turn first the last is the copy.

    Args:
        keys: numbers that stand for keys, equal where the keys are.
        epochs, times: the rows' `epoch` and `finished_at`.
    """
    order = np.lexsort((times, epochs, keys))
    ordered = keys[order]
    mask = np.zeros(len(keys), bool)
    mask[order[np.append(ordered[1:] != ordered[:-1], True)] if len(keys) else order] = True
    return mask


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
    path, data = storage.join(output, INDEX, f"{shard.rpartition('.')[0]}.parquet"), encoded(rows)
    try:
        storage.write_bytes(fs, path, data)
    except Exception as fault:
        if not (storage.is_storage_fault(fault) and _holds(fs, path, data)):
            raise  # else it was the answer that was lost, and the fragment is there


def _holds(fs: FileSystem, path: str, data: bytes) -> bool:
    with contextlib.suppress(Exception):
        return storage.read_bytes(fs, path) == data
    return False


def image_bytes(fs: FileSystem, output: str, row: Mapping[str, Any]) -> bytes:
    """The encoded image of a row that has one, by one ranged read."""
    place = place_of(row)
    assert place is not None
    return storage.read_bytes(fs, storage.join(output, place.path), place.offset, place.length)
