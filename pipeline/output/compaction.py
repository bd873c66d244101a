"""Shards made anew from old ones: small ones merged, and what was superseded or has to go left out."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline import storage
from recast.pipeline.ahead import ahead
from recast.pipeline.output.index import (
    INDEX,
    SHARDS,
    Fragment,
    ModelAndSpec,
    current_mask,
    fragments,
    image_bytes,
    key_hashes,
    stem_of,
    write_fragment,
)
from recast.pipeline.output.lease import Lease
from recast.pipeline.output.rows import SCHEMA, Row, table
from recast.pipeline.output.shards import Container, shard, shard_facts
from recast.pipeline.output.sidecars import KINDS, read_sidecars, remove_sidecars, stems_with_sidecars, write_sidecars
from recast.pipeline.storage import FileSystem

READERS = 8
COLUMNS = ("key", "epoch", "finished_at", "shard", "length", "status", "model", "spec")

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
    sidecars: tuple[str, ...]
    """The kinds of rows that lie beside its shard."""

    @property
    def stem(self) -> str:
        return self.name.removesuffix(".parquet")

    @property
    def container(self) -> Container:
        return "parquet" if (self.shard or "").endswith(".parquet") else "tar"


@dataclass(slots=True)
class Compacted:
    """What was done. `rows` counts index rows dropped, superseded ones and such as had to go."""

    fragments_before: int = 0
    fragments_after: int = 0
    rows: int = 0
    names: list[str] = field(default_factory=list)


def compact(fs: FileSystem, output: str, lease: Lease, *, shard_images: int, shard_bytes: int) -> Compacted:
    """Merge shards that are under half full, and drop what was superseded. Only the lease's holder may call it.

    A crash on the way leaves images twice, old and new, and never none: the next call goes on.
    """
    groups: dict[tuple[ModelAndSpec, Container], list[FragmentState]] = defaultdict(list)
    for state in fragment_states(fs, output):
        small = 2 * len(state.kept) < shard_images and 2 * state.kept_bytes < shard_bytes
        if small or len(state.kept) < state.rows:
            groups[state.maker, state.container].append(state)
    done = Compacted()
    for group in groups.values():
        for few in _binned(group, shard_images, shard_bytes):
            if len(few) > 1 or len(few[0].kept) < few[0].rows:
                _rewrite(fs, output, lease, few, done)
    return done


def delete_keys(fs: FileSystem, output: str, lease: Lease, gone: KeyPredicate) -> Compacted:
    """Make every shard anew that holds an image, current or superseded, of a key that has to go, without it.

    Only the lease's holder may call it. When it returns, the bytes are gone from the output.
    """
    done = Compacted()
    for state in fragment_states(fs, output, gone):
        if state.gone:
            _rewrite(fs, output, lease, [state], done)
    return done


def fragment_states(fs: FileSystem, output: str, gone: KeyPredicate | None = None) -> list[FragmentState]:
    """Every sound fragment, and what of it is current. Memory: some 50 bytes a row."""
    facts = [_facts(f.name, f.rows, gone) for f in fragments(fs, output, COLUMNS) if f.rows is not None and len(f.rows)]
    if not facts:
        return []
    current = current_mask(
        _identities(fs, output, facts),
        np.concatenate([fact.epochs for fact in facts]),
        np.concatenate([fact.times for fact in facts]),
    )
    return _states(facts, current, _sidecars(fs, output))


def _identities(fs: FileSystem, output: str, facts: list["_Facts"]) -> np.ndarray:
    """A number for each row's key. Where hashes agree the keys themselves are read again and compared: one may have
    been chosen for that."""
    hashes, places = np.unique(np.concatenate([fact.keys for fact in facts]), return_inverse=True)
    several = np.bincount(places) > 1
    start, known = 0, dict[str, int]()
    for fact in facts:
        its = places[start : start + len(fact.keys)]  # a view
        if len(rows := np.flatnonzero(several[its])):
            keys = _keys(fs, output, fact.name)
            its[rows] = [len(hashes) + known.setdefault(keys[row], len(known)) for row in rows]
        start += len(its)
    return places


def _keys(fs: FileSystem, output: str, name: str) -> list[str]:
    (fragment,) = fragments(fs, output, ["key"], names=[name])
    return _sound(fragment)["key"].to_pylist()


def _sound(fragment: Fragment) -> pa.Table:
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
        stays = current[start : start + len(fact.keys)] & ~fact.gone
        start += len(fact.keys)
        kept = np.flatnonzero(stays)
        found.append(
            FragmentState(
                fact.name, len(fact.keys), kept, int(fact.lengths[kept].sum()), int(fact.results[kept].sum()),
                fact.shard, fact.maker, int(fact.gone.sum()), sidecars.get(fact.name.removesuffix(".parquet"), ()),
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
    shard: str | None
    maker: ModelAndSpec


def _facts(name: str, rows: pa.Table, gone: KeyPredicate | None) -> _Facts:
    keys, first = rows["key"].to_pylist(), rows.slice(0, 1).to_pylist()[0]
    shards = pc.drop_null(rows["shard"]).slice(0, 1).to_pylist()
    return _Facts(
        name=name,
        keys=key_hashes(keys),
        epochs=rows["epoch"].to_numpy(),
        times=rows["finished_at"].cast(pa.int64()).to_numpy(),
        lengths=rows["length"].fill_null(0).to_numpy(),
        results=pc.not_equal(rows["status"], "failed").to_numpy().astype(bool),
        gone=gone(keys) if gone else np.zeros(len(keys), bool),
        shard=shards[0] if shards else None,
        maker=(first["model"], first["spec"]),
    )


def _binned(group: list[FragmentState], shard_images: int, shard_bytes: int) -> Iterator[list[FragmentState]]:
    """Neighbours that fill a shard together."""
    few: list[FragmentState] = []
    images = size = 0
    for state in group:
        if few and (images + len(state.kept) > shard_images or size + state.kept_bytes > shard_bytes):
            yield few
            few, images, size = [], 0, 0
        few.append(state)
        images, size = images + len(state.kept), size + state.kept_bytes
    if few:
        yield few


def _rewrite(fs: FileSystem, output: str, lease: Lease, few: list[FragmentState], done: Compacted) -> None:
    """One shard and fragment in place of several: the new ones first, then the old fragments, then the old shards."""
    rows, about = _rows(fs, output, few)
    if rows:
        stem = stem_of(_digest(rows), lease.claim.epoch)
        _move_sidecars(fs, output, few, stem)
        _write(fs, output, lease, f"{stem}.{few[0].container}", rows, about)
        done.fragments_after += 1
        done.names.append(stem)
    lease.confirm()
    old = [state for state in few if not rows or state.stem != stem]
    for state in old:
        storage.remove(fs, storage.join(output, INDEX, state.name))
    for state in old:
        if state.shard:
            storage.remove(fs, storage.join(output, SHARDS, state.shard))
        remove_sidecars(fs, output, state.stem, state.sidecars)
    done.fragments_before += len(few)
    done.rows += sum(state.rows - len(state.kept) for state in few)


def _move_sidecars(fs: FileSystem, output: str, few: list[FragmentState], stem: str) -> None:
    """What lies beside the old shards, beside the new one: of each old one the rows of the keys that are kept of it.
    Those of an earlier version of an image, in another fragment, go with it: its seals open nothing any more."""
    moved = defaultdict[str, list[dict[str, Any]]](list)
    for state in few:
        if state.sidecars:
            keys = _keys(fs, output, state.name)
            kept = [keys[place] for place in state.kept]
            for kind in state.sidecars:
                moved[kind] += read_sidecars(fs, output, kind, state.stem, kept)
    for kind, rows in moved.items():
        if rows:
            write_sidecars(fs, output, kind, stem, rows)


def _rows(fs: FileSystem, output: str, few: list[FragmentState]) -> tuple[list[Row], dict[str, str]]:
    rows: list[Row] = []
    about: dict[str, str] = {}
    wanted = {state.name: state.kept for state in few}
    for fragment in fragments(fs, output, SCHEMA.names, names=sorted(wanted)):
        rows += [Row(**row) for row in _sound(fragment).take(wanted[fragment.name]).to_pylist()]
        about = {k: v for k, v in fragment.about.items() if not k.startswith("recast.shard")}
    return rows, about


def _digest(rows: list[Row]) -> str:
    """From what the shard will hold, so that doing it again after a crash overwrites what is there."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.key}\n{row.fingerprint}\n{row.sha256}\n{row.run}\n".encode())
    return digest.hexdigest()[:20]


def _write(fs: FileSystem, output: str, lease: Lease, name: str, rows: list[Row], about: dict[str, str]) -> None:
    container: Container = "tar" if name.endswith(".tar") else "parquet"
    with shard(container) as filling, ThreadPoolExecutor(READERS) as pool:
        with_image = [row for row in rows if row.shard]
        read = ahead(lambda row: _checked(fs, output, row), with_image, pool, 2 * READERS)
        for row, image in zip(with_image, read, strict=True):
            row.shard = name
            filling.add(row, image, (row.member or "").rpartition(".")[2])
        if filling.images:
            size = filling.commit(fs, storage.join(output, SHARDS, name))
            about |= shard_facts(name, size, filling.sha256)
    lease.confirm()
    write_fragment(fs, output, name, table(rows, about))


def _checked(fs: FileSystem, output: str, row: Row) -> bytes:
    """An image's bytes, which must be sound: a damaged one copied would look like a good one of another place."""
    image = image_bytes(fs, output, {"shard": row.shard, "offset": row.offset, "length": row.length})
    if hashlib.sha256(image).hexdigest() != row.sha256:
        raise storage.StorageError(
            f"{row.key} in shards/{row.shard} is damaged; run `recast index verify`, then the job again, then this"
        )
    return image
