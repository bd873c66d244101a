"""Which inputs an output has settled, in a form that a driver can hold for a hundred million of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline.images.inputs import Input
from recast.pipeline.output.index import Fragment, fragments, key_hashes
from recast.pipeline.storage import FileSystem


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
        keys = key_hashes(i.key for i in inputs)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        prints = key_hashes(i.fingerprint for i in inputs)
        same = (self.keys[places] == keys) & (self.prints[places] == prints)
        return [item for item, settled in zip(inputs, same, strict=True) if not settled]


def read_settled(fs: FileSystem, output: str, *, retry_failed: bool, maker: tuple[str, str] | None = None) -> Settled:
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
        hashed = [np.concatenate(column) for column in zip(*parts, strict=True)]
        parts.clear()
        found.keys, found.prints = _newest_hashes(hashed)
    return found


def _hashed(rows: pa.Table, retry_failed: bool) -> tuple[np.ndarray, ...]:
    keys = key_hashes(rows["key"].to_pylist())
    prints = key_hashes(rows["fingerprint"].to_pylist())
    times = rows["finished_at"].cast(pa.int64()).to_numpy()
    counts = np.ones(len(rows), bool)
    if retry_failed:
        counts = pc.equal(rows["status"], "ok").to_numpy().astype(bool)
    return keys, prints, times, counts


def _newest_hashes(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Keys and prints of the newest rows that count. Takes the columns over, so that each can go once it is sorted."""
    keys, prints, times, counts = columns
    columns.clear()
    order = np.lexsort((times, keys))
    del times
    keys = keys[order]
    last = np.append(keys[1:] != keys[:-1], True) if len(keys) else np.empty(0, bool)
    last &= counts[order]
    return keys[last], prints[order[last]]
