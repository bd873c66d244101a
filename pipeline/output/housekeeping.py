"""What a finished run tidies: the leavings of dead runs, and what it replaced."""

import datetime
from collections.abc import Sequence

from recast.pipeline import storage
from recast.pipeline.output.index import DAMAGED, INDEX, SHARDS, Fragment, fragments, stale_marks
from recast.pipeline.output.seals import SEALS, remove_seals, sealed_stems
from recast.pipeline.storage import FileSystem


def sweep(
    fs: FileSystem,
    output: str,
    damaged: Sequence[Fragment],
    replaced: set[tuple[str, str]],
    began_at: datetime.datetime,
) -> int:
    """Remove shards and seals without a fragment, fragments that were damaged when the run began and have been made up
    for, and everything by the (model, spec) pairs that this run replaced. Returns how many files went.

    Only the lease's holder may call it, after its last commit. A fragment goes before its shard: a crash in between
    leaves an orphan for the next sweep, never a row that points to nothing.
    """
    gone = _still_damaged(fs, output, damaged) | (_made_by(fs, output, replaced) if replaced else set())
    for name in sorted(gone):
        storage.remove(fs, storage.join(output, INDEX, name))
    # Shards are listed first: one committed by a straggler in between then has its fragment in the second listing.
    shards, seals = storage.sizes(fs, storage.join(output, SHARDS)), sealed_stems(fs, output)
    kept = {name.rpartition(".")[0] for name in storage.sizes(fs, storage.join(output, INDEX))}
    orphans = [name for name in shards if name.rpartition(".")[0] not in kept]
    for name in orphans:
        storage.remove(fs, storage.join(output, SHARDS, name))
    lost = [stem for stem in seals if stem not in kept]
    for stem in lost:
        remove_seals(fs, output, stem)
    for name in stale_marks(fs, output):
        storage.remove(fs, storage.join(output, DAMAGED, name))
    return len(gone) + len(orphans) + len(lost) + _remove_parts(fs, output, began_at)


def _still_damaged(fs: FileSystem, output: str, damaged: Sequence[Fragment]) -> set[str]:
    """Of the fragments found damaged, those that the run has not overwritten with sound ones."""
    if not damaged:
        return set()
    names = {f.name for f in damaged}
    return {f.name for f in fragments(fs, output, ["key"]) if f.rows is None and f.name in names}


def _made_by(fs: FileSystem, output: str, makers: set[tuple[str, str]]) -> set[str]:
    """Fragments whose rows are all by these makers. A fragment is by one maker, since a unit is."""
    found = set()
    for fragment in fragments(fs, output, ["model", "spec"]):
        if fragment.rows is not None and len(fragment.rows):
            row = fragment.rows.slice(0, 1).to_pylist()[0]
            if (row["model"], row["spec"]) in makers:
                found.add(fragment.name)
    return found


def _remove_parts(fs: FileSystem, output: str, began_at: datetime.datetime) -> int:
    """On local disk: half-written temporary files of dead writers, older than this run."""
    if not storage.is_local(fs):
        return 0
    count = 0
    for folder in (INDEX, SHARDS, SEALS):
        for path in fs.glob(storage.join(output, folder, ".*.part")):
            if fs.modified(path).replace(tzinfo=datetime.UTC) < began_at:
                storage.remove(fs, path)
                count += 1
    return count
