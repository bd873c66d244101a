"""Which rows of an output's fragments are current, which have to go, and what lies where for them."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline import storage
from recast.pipeline.output.index import Fragment, ModelAndSpec, current_mask, fragments, has_file, key_hashes
from recast.pipeline.output.shards import Container
from recast.pipeline.output.sidecars import KINDS, stems_with_sidecars
from recast.pipeline.storage import FileSystem

COLUMNS = ("key", "epoch", "finished_at", "shard", "length", "member", "status", "model", "spec")

KeyPredicate = Callable[[Sequence[str]], np.ndarray]
"""Keys -> bool for each: whether its image has to go."""


@dataclass(frozen=True, slots=True)
class FragmentState:
    """A fragment, and which of its rows stand in the current view."""

    name: str
    rows: int
    kept: np.ndarray
    """Row numbers."""
    kept_bytes: int
    results: int
    """Kept rows that have not failed."""
    shard: str | None
    maker: ModelAndSpec
    gone: int
    """Rows, current or not, that have to go."""
    has_files: bool
    """Whether bytes of its rows are files of their own."""
    gone_files: np.ndarray
    """Numbers of the current ones among the rows that have to go whose bytes are such. The file of a superseded row may
    be another key's by now."""
    sidecars: tuple[str, ...]
    """The kinds of rows that lie beside its shard."""

    @property
    def stem(self) -> str:
        return self.name.removesuffix(".parquet")

    @property
    def container(self) -> Container:
        if self.has_files:
            return "files"
        return "parquet" if (self.shard or "").endswith(".parquet") else "tar"


def fragment_states(fs: FileSystem, output: str, gone: KeyPredicate | None = None) -> list[FragmentState]:
    """Every sound fragment, and what of it is current. Memory: some 50 bytes a row."""
    facts = [_facts(f.name, f.rows, gone) for f in fragments(fs, output, COLUMNS) if f.rows is not None and len(f.rows)]
    if not facts:
        return []
    return _states(facts, _current(fs, output, facts), _sidecars(fs, output))


def _current(fs: FileSystem, output: str, facts: list["_Facts"]) -> np.ndarray:
    """bool for each row of all fragments: whether it is current."""
    return current_mask(
        _identities(fs, output, facts),
        np.concatenate([fact.epochs for fact in facts]),
        np.concatenate([fact.times for fact in facts]),
    )


def named_files(fs: FileSystem, output: str) -> np.ndarray | None:
    """64-bit hashes of the paths of all plain files that current rows name; None where a fragment is damaged, so that
    nobody knows which it named."""
    facts = []
    for fragment in fragments(fs, output, COLUMNS):
        if fragment.rows is None:
            return None
        if len(fragment.rows):
            facts.append(_facts(fragment.name, fragment.rows, None))
    if not facts:
        return np.empty(0, np.uint64)
    current = _current(fs, output, facts)
    filed = np.concatenate([fact.filed for fact in facts])
    return np.concatenate([fact.paths for fact in facts])[current[filed]]


def _identities(fs: FileSystem, output: str, facts: list["_Facts"]) -> np.ndarray:
    """A number for each row's key. Where hashes agree the keys themselves are read again and compared: one may have
    been chosen for that."""
    hashes, places = np.unique(np.concatenate([fact.keys for fact in facts]), return_inverse=True)
    several = np.bincount(places) > 1
    start, known = 0, dict[str, int]()
    for fact in facts:
        its = places[start : start + len(fact.keys)]  # a view
        if len(rows := np.flatnonzero(several[its])):
            keys = keys_in(fs, output, fact.name)
            its[rows] = [len(hashes) + known.setdefault(keys[row], len(known)) for row in rows]
        start += len(its)
    return places


def keys_in(fs: FileSystem, output: str, name: str) -> list[str]:
    """The keys of a fragment's rows."""
    (fragment,) = fragments(fs, output, ["key"], names=[name])
    return sound(fragment)["key"].to_pylist()


def sound(fragment: Fragment) -> pa.Table:
    """The rows of a fragment that was sound when it was read before. Raises StorageError if it no longer is."""
    if fragment.rows is None:
        raise storage.StorageError(f"index/{fragment.name} was damaged a moment ago: {fragment.damage}")
    return fragment.rows


def _sidecars(fs: FileSystem, output: str) -> Mapping[str, tuple[str, ...]]:
    """The kinds of rows that lie beside each shard, by its name without ending."""
    found = defaultdict[str, tuple[str, ...]](tuple)
    for kind in KINDS:
        for stem in stems_with_sidecars(fs, output, kind):
            found[stem] += (kind,)
    return found


def _states(facts: list["_Facts"], current: np.ndarray, sidecars: Mapping[str, tuple[str, ...]]) -> list[FragmentState]:
    found, start = [], 0
    for fact in facts:
        its = current[start : start + len(fact.keys)]
        stays = its & ~fact.gone
        start += len(fact.keys)
        kept = np.flatnonzero(stays)
        found.append(
            FragmentState(
                fact.name, len(fact.keys), kept, int(fact.lengths[kept].sum()), int(fact.results[kept].sum()),
                fact.shard, fact.maker, int(fact.gone.sum()), bool(fact.filed.any()),
                np.flatnonzero(its & fact.gone & fact.filed), sidecars.get(fact.name.removesuffix(".parquet"), ()),
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class _Facts:
    name: str
    keys: np.ndarray
    epochs: np.ndarray
    times: np.ndarray
    lengths: np.ndarray
    results: np.ndarray
    gone: np.ndarray
    filed: np.ndarray
    """Whether the bytes are a file of their own."""
    paths: np.ndarray
    """Hashes of the members."""
    shard: str | None
    maker: ModelAndSpec


def _facts(name: str, rows: pa.Table, gone: KeyPredicate | None) -> _Facts:
    keys, first = rows["key"].to_pylist(), rows.slice(0, 1).to_pylist()[0]
    filed = has_file(rows).to_numpy().astype(bool)
    shards = pc.drop_null(rows["shard"]).slice(0, 1).to_pylist()
    return _Facts(
        name=name,
        keys=key_hashes(keys),
        epochs=rows["epoch"].to_numpy(),
        times=rows["finished_at"].cast(pa.int64()).to_numpy(),
        lengths=np.where(filed, 0, rows["length"].fill_null(0).to_numpy()),
        results=pc.not_equal(rows["status"], "failed").to_numpy().astype(bool),
        gone=gone(keys) if gone else np.zeros(len(keys), bool),
        filed=filed,
        paths=key_hashes(rows["member"].filter(pa.array(filed)).to_pylist()),
        shard=shards[0] if shards else None,
        maker=(first["model"], first["spec"]),
    )
