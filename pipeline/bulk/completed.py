"""Which inputs an output has settled, in a form that a driver can hold for a hundred million of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline.output import plain_files
from recast.pipeline.output.housekeeping import shard_of
from recast.pipeline.output.index import (
    PLACE,
    Fragment,
    ModelAndSpec,
    current_mask,
    epoch_of,
    fragments,
    has_file,
    key_hashes,
)
from recast.pipeline.sources.inputs import Input
from recast.pipeline.storage import FileSystem


@dataclass(slots=True)
class Completed:
    """Which inputs need no work: 64-bit hashes of keys, sorted, beside those of their fingerprints (16 bytes an input).

    An input is taken for settled only if both hashes agree, so a false match has odds of 2^-128 a pair.
    """

    keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    prints: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    damaged: tuple[Fragment, ...] = ()
    """Fragments that don't count; a finished run replaces them."""
    makers: Mapping[ModelAndSpec, Mapping[str, str]] = field(default_factory=dict)
    """Whose the current rows are, each with what a fragment says of it."""
    shards: Mapping[str, str | None] = field(default_factory=dict)
    """Every fragment that the index had, by name, with the shard that it speaks of (`housekeeping.Shards`)."""
    epoch: int = 0
    """The greatest that the rows and the names of the fragments tell of."""
    with_files: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    """Hashes of the keys that have rows, current or not, whose bytes are files of their own."""
    file_paths: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    """Hashes of the paths of all such files that current rows name, and in the same order those of the keys."""
    file_keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))

    def __len__(self) -> int:
        return len(self.keys)

    def unsettled(self, inputs: Sequence[Input]) -> list[Input]:
        """Those of the inputs that are new or changed."""
        if not len(self.keys):
            return list(inputs)
        keys = key_hashes(i.key for i in inputs)
        prints = key_hashes(i.fingerprint for i in inputs)
        first = np.searchsorted(self.keys, keys)
        places = np.minimum(first, len(self.keys) - 1)
        same = (self.keys[places] == keys) & (self.prints[places] == prints)
        behind = np.minimum(first + 1, len(self.keys) - 1)
        for n in np.flatnonzero(~same & (self.keys[behind] == keys) & (behind > places)):  # two keys of one hash
            last = np.searchsorted(self.keys, keys[n], "right")
            same[n] = np.any(self.prints[first[n] : last] == prints[n])
        return [item for item, settled in zip(inputs, same, strict=True) if not settled]


@dataclass(frozen=True, slots=True)
class _Hashed:
    """One fragment's rows, as numbers."""

    keys: np.ndarray
    others: np.ndarray
    """A second hash of each key, so that two keys are taken for one with odds of 2^-128."""
    prints: np.ndarray
    epochs: np.ndarray
    times: np.ndarray
    ok: np.ndarray
    makers: np.ndarray
    """Places in the list of makers."""
    paths: np.ndarray
    """Hashes of the members of rows whose bytes are files of their own."""
    lengths: np.ndarray
    """The bytes of such files; -1 for other rows."""


def read_completed(
    fs: FileSystem, output: str, *, retry_failed: bool, made_by: ModelAndSpec | None = None
) -> Completed:
    """What an output has settled; with `made_by`, where that (model, spec) made the current row. A row whose file is
    missing or of another size settles nothing.

    Memory: some 80 bytes a row while it reads, 16 afterwards.
    """
    parts: list[_Hashed] = []
    damaged: list[Fragment] = []
    abouts: dict[ModelAndSpec, Mapping[str, str]] = {}
    shards: dict[str, str | None] = {}
    columns = ("key", "fingerprint", "status", "model", "spec", "epoch", "finished_at", *PLACE)
    for fragment in fragments(fs, output, columns):
        shards[fragment.name] = shard_of(fragment)
        if fragment.rows is None:
            damaged.append(fragment)
        elif len(fragment.rows):
            parts.append(_hashed(fragment, abouts))
    found = Completed(damaged=tuple(damaged), shards=shards, epoch=max(map(epoch_of, shards), default=0))
    if parts:
        columns_of = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _Hashed.__slots__}
        parts.clear()
        rows = _Hashed(**columns_of)
        whole = _whole(fs, output, rows)
        _fill(found, rows, list(abouts), retry_failed, made_by, whole)
        found.makers = {pair: abouts[pair] for pair in found.makers}
    return found


def _hashed(fragment: Fragment, abouts: dict[ModelAndSpec, Mapping[str, str]]) -> _Hashed:
    rows = fragment.rows
    assert rows is not None
    keys = rows["key"].to_pylist()
    with_files = has_file(rows)
    filed = with_files.to_numpy().astype(bool)
    paths = np.zeros(len(rows), np.uint64)
    paths[filed] = key_hashes(rows["member"].filter(with_files).to_pylist())
    for pair in _pairs(rows.group_by(["model", "spec"]).aggregate([])):
        abouts.setdefault(pair, fragment.about)
    return _Hashed(
        keys=key_hashes(keys),
        others=_other_hashes(keys),
        prints=key_hashes(rows["fingerprint"].to_pylist()),
        epochs=rows["epoch"].to_numpy(),
        times=rows["finished_at"].cast(pa.int64()).to_numpy(),
        ok=pc.equal(rows["status"], "ok").to_numpy().astype(bool),
        makers=_places(rows, list(abouts)),
        paths=paths,
        lengths=np.where(filed, rows["length"].fill_null(0).to_numpy(), -1),
    )


def _pairs(rows: pa.Table) -> list[ModelAndSpec]:
    return list(zip(rows["model"].to_pylist(), rows["spec"].to_pylist(), strict=True))


def _places(rows: pa.Table, makers: list[ModelAndSpec]) -> np.ndarray:
    """For each row the place of its maker in the list."""
    found = np.zeros(len(rows), np.int32)
    for place, (model, spec) in enumerate(makers):
        its = pc.and_(pc.equal(rows["model"], model), pc.equal(rows["spec"], spec))
        found[its.to_numpy().astype(bool)] = place
    return found


def _other_hashes(texts: Sequence[str]) -> np.ndarray:
    """64 bits of each text that have nothing to do with `key_hashes`."""
    digests = (hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[:8] for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)


def _whole(fs: FileSystem, output: str, rows: _Hashed) -> np.ndarray:
    """bool for each row: whether its bytes, where they are a file of their own, are there and as many as it says."""
    whole, filed = np.ones(len(rows.keys), bool), rows.lengths >= 0
    if filed.any():
        paths, sizes = plain_files.sizes(fs, output)
        paths, sizes = np.append(paths, rows.paths[filed][:1]), np.append(sizes, -1)  # never empty
        places = np.searchsorted(paths[:-1], rows.paths[filed])
        whole[filed] = (paths[places] == rows.paths[filed]) & (sizes[places] == rows.lengths[filed])
    return whole


def _fill(
    found: Completed, rows: _Hashed, pairs: list[ModelAndSpec], retry_failed: bool, made_by: ModelAndSpec | None,
    whole: np.ndarray,
) -> None:  # fmt: skip
    """Put the current rows that count in order."""
    current = current_mask(_identities(rows), rows.epochs, rows.times)
    found.epoch = max(found.epoch, int(rows.epochs.max()))
    found.makers = {pairs[n]: {} for n in np.unique(rows.makers[current])}
    filed = rows.lengths >= 0
    found.with_files = np.unique(rows.keys[filed])
    found.file_paths, found.file_keys = rows.paths[current & filed], rows.keys[current & filed]
    counts = current & whole & rows.ok if retry_failed else current & whole
    if made_by:
        counts &= rows.makers == (pairs.index(made_by) if made_by in pairs else -1)
    keys, prints = rows.keys[counts], rows.prints[counts]
    order = np.argsort(keys, kind="stable")
    found.keys, found.prints = keys[order], prints[order]


def _identities(rows: _Hashed) -> np.ndarray:
    """A number for each key: its hash, unless two keys share one; then each has one of its own."""
    order = np.lexsort((rows.others, rows.keys))
    keys, others = rows.keys[order], rows.others[order]
    if not np.any((keys[1:] == keys[:-1]) & (others[1:] != others[:-1])):
        return rows.keys
    numbers = np.cumsum(np.append(0, (keys[1:] != keys[:-1]) | (others[1:] != others[:-1])))
    identities = np.empty(len(keys), np.int64)
    identities[order] = numbers
    return identities
