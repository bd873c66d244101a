"""Faults that the protocol might have, to be planted into the product one at a time."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.pipeline import storage
from recast.pipeline.bulk import inventory_counts, road, writer
from recast.pipeline.deidentify.secrets import seal
from recast.pipeline.output import compaction, fragment_states, housekeeping, index, lease, sidecars
from recast.pipeline.training import checkpoints, records
from tests.pipeline.protocol.archive import OUTPUT
from tests.pipeline.protocol.store import running

Plant = Callable[[pytest.MonkeyPatch], None]


def everywhere(patch: pytest.MonkeyPatch, real: object, stand_in: object) -> None:
    """Put something in the place of a function, under every name that the product's modules have it by."""
    for name, module in list(sys.modules.items()):
        if name.startswith("recast.") and module is not None:
            for attribute, value in list(vars(module).items()):
                if value is real:
                    patch.setattr(module, attribute, stand_in)


def settle_dropped(patch: pytest.MonkeyPatch) -> None:
    """Whoever takes a lease on a store without conditional writes doesn't look whether it is still its own."""
    patch.setattr(lease.Lease, "_settle", lambda self, took_s: None)


def fragment_before_shard(patch: pytest.MonkeyPatch) -> None:
    _delayed(
        patch, storage, "upload", lambda fs, local, path: (fs, path, Path(local).read_bytes()), storage.write_bytes
    )


def seals_after_fragment(patch: pytest.MonkeyPatch) -> None:
    _delayed(patch, writer, "write_sidecars", lambda *arguments: arguments, sidecars.write_sidecars)


def _delayed(
    patch: pytest.MonkeyPatch, module: Any, name: str, kept: Callable[..., Any], write: Callable[..., Any]
) -> None:
    """What is written by that function before a fragment is written after it."""
    waiting: list[tuple[Any, Any]] = []
    real = writer.write_fragment

    def write_fragment(*arguments: Any) -> None:
        real(*arguments)
        for process, late in waiting:
            if process is running():
                write(*late)
        waiting.clear()

    patch.setattr(module, name, lambda *arguments: waiting.append((running(), kept(*arguments))))
    patch.setattr(writer, "write_fragment", write_fragment)


def epoch_ignored(patch: pytest.MonkeyPatch) -> None:
    """The newest by the clock is current."""
    real = index.current_mask
    everywhere(patch, real, lambda keys, epochs, times: real(keys, np.zeros_like(epochs), times))


def clock_first(patch: pytest.MonkeyPatch) -> None:
    """The epoch decides only where clocks agree."""
    real = index.current_mask
    everywhere(patch, real, lambda keys, epochs, times: real(keys, times, epochs))


def lease_not_checked(patch: pytest.MonkeyPatch) -> None:
    """A worker commits without a look at the lease."""
    patch.setattr(writer.Writer, "_check_fence", lambda *_: None)


def renewal_unconditional(patch: pytest.MonkeyPatch) -> None:
    real = lease.Lease._renew_once

    def renew(self: lease.Lease) -> None:
        self._conditional, before = False, self._conditional
        try:
            real(self)
        finally:
            self._conditional = before

    patch.setattr(lease.Lease, "_renew_once", renew)


def takeover_unconditional(patch: pytest.MonkeyPatch) -> None:
    """A lease is taken without asking whether it is still the one that was looked at."""
    real = storage.write_if

    def write_if(fs: Any, path: str, data: bytes, etag: str | None) -> None:
        real(fs, path, data, etag if etag in (None, lease.WRONG_ETAG) else "")

    patch.setattr(storage, "write_if", write_if)


def creation_unconditional(patch: pytest.MonkeyPatch) -> None:
    """A first lease is written over another first one."""
    real, looked = storage.write_if, set[int]()

    def write_if(fs: Any, path: str, data: bytes, etag: str | None) -> None:
        first = etag is None and id(running()) not in looked
        looked.add(id(running()))
        real(fs, path, data, "" if first else etag)

    patch.setattr(storage, "write_if", write_if)


def names_without_epoch(patch: pytest.MonkeyPatch) -> None:
    """Files of one unit have one name in all turns."""
    real = index.stem_of
    everywhere(patch, real, lambda digest, epoch, part=0: real(digest, 1, part))


def released_lease_deleted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease.Lease, "_release", lambda self: storage.remove(self._fs, self._path))


def shards_swept_first(patch: pytest.MonkeyPatch) -> None:
    """A sweep removes the shards of fragments that have to go before the fragments."""
    real = housekeeping._remove_fragments

    def remove(fs: Any, output: str, names: set[str]) -> None:
        for name in sorted(names):
            storage.remove(fs, storage.join(output, "shards", f"{name.removesuffix('.parquet')}.tar"))
        real(fs, output, names)

    patch.setattr(housekeeping, "_remove_fragments", remove)


def stragglers_not_awaited(patch: pytest.MonkeyPatch) -> None:
    """After a sweep nobody looks whether a fragment came for a shard that it has removed."""
    real, looked = housekeeping._stragglers, set[int]()

    def stragglers(*arguments: Any) -> set[str]:
        again = id(running()) in looked
        looked.add(id(running()))
        return set() if again else real(*arguments)

    patch.setattr(housekeeping, "_stragglers", stragglers)


def old_removed_before_new(patch: pytest.MonkeyPatch) -> None:
    """A compaction removes fragments once it has read them."""
    real = compaction._rows

    def rows(fs: Any, output: str, few: Any) -> Any:
        found = real(fs, output, few)
        for state in few:
            storage.remove(fs, storage.join(output, "index", state.name))
        return found

    patch.setattr(compaction, "_rows", rows)


def compaction_drops_epoch(patch: pytest.MonkeyPatch) -> None:
    real = compaction._rows

    def rows(*arguments: Any) -> Any:
        found, about = real(*arguments)
        for row in found:
            row.epoch = 0
        return found, about

    patch.setattr(compaction, "_rows", rows)


def seals_moved_by_key(patch: pytest.MonkeyPatch) -> None:
    """A compaction takes the seals of superseded versions along."""

    def move(fs: Any, output: str, few: Any, stem: str) -> None:
        rows, _ = compaction._rows(fs, output, few)
        keys = {row.key for row in rows}
        kind = sidecars.SEALS
        moved = [s for old in few for s in sidecars.read_sidecars(fs, output, kind, old.stem, keys)]
        sidecars.write_sidecars(fs, output, kind, stem, moved)

    patch.setattr(compaction, "_move_sidecars", move)


def pruned_while_damaged(patch: pytest.MonkeyPatch) -> None:
    """What a damaged archive doesn't show is taken for gone."""
    patch.setattr(inventory_counts.InventoryCounts, "gone", inventory_counts.InventoryCounts._missing)


def hashes_for_keys(patch: pytest.MonkeyPatch) -> None:
    """A compaction takes two keys of one hash for one."""
    patch.setattr(
        fragment_states, "_identities", lambda fs, output, facts: np.concatenate([fact.keys for fact in facts])
    )


def layout_by_attempt(patch: pytest.MonkeyPatch) -> None:
    """Images lie in a shard in the order in which they were done."""
    patch.setattr(writer, "in_order", iter)


def attempts_not_taken_back(patch: pytest.MonkeyPatch) -> None:
    """A worker that takes up a dead one's unit leaves its fragments, and lays its own shards out otherwise."""
    layout_by_attempt(patch)
    patch.setattr(writer.Writer, "_take_back", lambda *_: None)


def mark_ignored(patch: pytest.MonkeyPatch) -> None:
    """A run believes what a check has found to be damaged."""
    real = index._fragment
    patch.setattr(index, "_fragment", lambda fs, output, name, columns, shards, marks: real(
        fs, output, name, columns, shards, {}
    ))  # fmt: skip


def replaced_removed_first(patch: pytest.MonkeyPatch) -> None:
    """A run with --replace empties the index before its own results are there."""
    real = road._map

    def emptied(*arguments: Any) -> None:
        fs, output = storage.filesystem(OUTPUT)
        for name in storage.sizes(fs, storage.join(output, "index")):
            storage.remove(fs, storage.join(output, "index", name))
        real(*arguments)

    patch.setattr(road, "_map", emptied)


def retried_rows_lost(patch: pytest.MonkeyPatch) -> None:
    """A run with --retry-failed removes fragments with failed rows before it does them again."""
    real = road.read_completed

    def read_completed(fs: Any, output: str, **options: Any) -> Any:
        found = real(fs, output, **options)
        for fragment in index.fragments(fs, output, ["status"]) if options["retry_failed"] else ():
            if fragment.rows is not None and "failed" in fragment.rows["status"].to_pylist():
                storage.remove(fs, storage.join(output, "index", fragment.name))
        return found

    patch.setattr(road, "read_completed", read_completed)


def old_checkpoints_first(patch: pytest.MonkeyPatch) -> None:
    """Old checkpoints go before the new one is there."""
    real = checkpoints.Checkpoints.save

    def save(self: checkpoints.Checkpoints, *arguments: Any) -> None:
        for step in self.steps():
            storage.remove(self._fs, self._path(step))
        real(self, *arguments)

    patch.setattr(checkpoints.Checkpoints, "save", save)


def checkpoint_before_bundle(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint says that a step is done before the step's bundle is there."""

    def write(self: records.Records, step: int, state: Any, network: Any, grid: Any, best: bool) -> None:
        self._checkpoints.save(step, state, self._plan.keep_checkpoints, self._confirmed)
        self._export(step, network, self._log.samples(step, grid), best)

    patch.setattr(records.Records, "_write", write)


def lock_made_anew(patch: pytest.MonkeyPatch) -> None:
    """Where the lock is missing there is a new one, though things are sealed."""
    patch.setattr(seal, "sealed_there", lambda *_: "")
