"""Shards made anew from old ones: small ones merged, and what was superseded or has to go left out.

Results as plain files stay where they are: their fragments are made anew, and the files of keys that have to go are
removed.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from recast.pipeline import storage
from recast.pipeline.ahead import ahead
from recast.pipeline.output import plain_files
from recast.pipeline.output.fragment_states import FragmentState, KeyPredicate, fragment_states, keys_in, sound
from recast.pipeline.output.index import INDEX, SHARDS, ModelAndSpec, fragments, image_bytes, stem_of, write_fragment
from recast.pipeline.output.lease import Lease
from recast.pipeline.output.rows import SCHEMA, Row, table
from recast.pipeline.output.shards import SOURCES, Container, Packing, shard, shard_facts
from recast.pipeline.output.sidecars import read_sidecars, remove_sidecars, write_sidecars
from recast.pipeline.storage import FileSystem

READERS = 8


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
    """One shard and fragment in place of several: the new ones first, then the old fragments, then the old shards, and
    the files of what has to go."""
    members = _members(fs, output, few)
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
    plain_files.remove(fs, output, members)
    done.fragments_before += len(few)
    done.rows += sum(state.rows - len(state.kept) for state in few)


def _members(fs: FileSystem, output: str, few: list[FragmentState]) -> list[str]:
    """The files of the current rows that have to go."""
    found: list[str] = []
    for state in few:
        if len(state.gone_files):
            (fragment,) = fragments(fs, output, ["member"], names=[state.name])
            found += sound(fragment)["member"].take(state.gone_files).to_pylist()
    return found


def _move_sidecars(fs: FileSystem, output: str, few: list[FragmentState], stem: str) -> None:
    """What lies beside the old shards, beside the new one: of each old one the rows of the keys that are kept of it.
    Those of an earlier version of an image, in another fragment, go with it: its seals open nothing any more."""
    moved = defaultdict[str, list[dict[str, Any]]](list)
    for state in few:
        if state.sidecars:
            keys = keys_in(fs, output, state.name)
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
        rows += [Row(**row) for row in sound(fragment).take(wanted[fragment.name]).to_pylist()]
        about = {k: v for k, v in fragment.about.items() if not k.startswith("recast.shard")}
    return rows, about


def _digest(rows: list[Row]) -> str:
    """From what the shard will hold, so that doing it again after a crash overwrites what is there."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.key}\n{row.fingerprint}\n{row.sha256}\n{row.run}\n".encode())
    return digest.hexdigest()[:20]


def _write(fs: FileSystem, output: str, lease: Lease, name: str, rows: list[Row], about: dict[str, str]) -> None:
    if not name.endswith(".files"):
        about |= _pack(fs, output, name, rows, sources=SOURCES in about)
    lease.confirm()
    write_fragment(fs, output, name, table(rows, about))


def _pack(fs: FileSystem, output: str, name: str, rows: list[Row], *, sources: bool) -> dict[str, str]:
    """A shard of the images of some rows, which say afterwards where in it they lie. Returns what the fragment says of
    it."""
    packing: Packing = "tar" if name.endswith(".tar") else "parquet"
    with shard(packing, sources=sources) as filling, ThreadPoolExecutor(READERS) as pool:
        with_image = [row for row in rows if row.shard]
        read = ahead(lambda row: _checked(fs, output, row), with_image, pool, 2 * READERS)
        for row, image in zip(with_image, read, strict=True):
            row.shard = name
            filling.add(row, image, (row.member or "").rpartition(".")[2])
        if not filling.images:
            return {}
        size = filling.commit(fs, storage.join(output, SHARDS, name))
        return shard_facts(name, size, filling.sha256)


def _checked(fs: FileSystem, output: str, row: Row) -> bytes:
    """An image's bytes, which must be sound: a damaged one copied would look like a good one of another place."""
    facts = {"shard": row.shard, "offset": row.offset, "length": row.length, "member": row.member}
    image = image_bytes(fs, output, facts)
    if hashlib.sha256(image).hexdigest() != row.sha256:
        raise storage.StorageError(
            f"{row.key} in shards/{row.shard} is damaged; run `recast index verify`, then the job again, then this"
        )
    return image
