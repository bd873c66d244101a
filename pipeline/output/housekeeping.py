"""What a finished run tidies: the leavings of dead runs, stragglers of runs that were overtaken, what it replaced."""

import datetime
import time
from collections.abc import Collection, Mapping, Sequence

from recast.pipeline import storage
from recast.pipeline.output import plain_files
from recast.pipeline.output.fragment_states import named_files
from recast.pipeline.output.index import (
    DAMAGED,
    FILES,
    INDEX,
    OWN_NAME,
    SHARDS,
    Fragment,
    epoch_of,
    fragments,
    listed,
    stale_marks,
)
from recast.pipeline.output.lease import Lease, LeaseError
from recast.pipeline.output.sidecars import KINDS, remove_sidecars, stems_with_sidecars
from recast.pipeline.storage import FileSystem

GRACE_S = 3.0
"""How long after a takeover a shard without a fragment is left alone: the fragment may be on its way, its writer having
looked at the lease just before it was taken."""

Shards = Mapping[str, str | None]
"""Fragments by name, with the shard that each speaks of: None where it speaks of none, `ANY` where it is damaged, and
whatever shard has its name may be its own."""
ANY = ""


def shards_of(fs: FileSystem, output: str) -> Shards:
    """Every fragment that the index has now."""
    return {fragment.name: shard_of(fragment) for fragment in fragments(fs, output, ["key"])}


def shard_of(fragment: Fragment) -> str | None:
    """Which shard a fragment speaks of, as in `Shards`."""
    return ANY if fragment.rows is None else fragment.about.get("recast.shard")


def collect_garbage(
    fs: FileSystem, output: str, lease: Lease, before: Shards, damaged: Sequence[Fragment],
    replaced: Collection[str], began_at: datetime.datetime,
) -> int:  # fmt: skip
    """Remove shards and sidecars without a fragment, plain files that no current row names, fragments that were damaged
    when the run began and have been made up for, those that this run replaced, and what runs that were overtaken have
    committed since. Files of names that Recast does not give stay. Returns how many files went.

    Only the lease's holder may call it, after its last commit. A fragment goes before its shard: a crash in between
    leaves an orphan for the next sweep, never a row that points to nothing.

    Args:
        before: the fragments that were there when the run looked what is settled.
        damaged: of them those whose inputs the run has done again.
        replaced: of them those whose rows the run has made anew, by name.
    """
    lease.confirm()
    gone = _stragglers(fs, output, lease, before) | _still_damaged(fs, output, damaged)
    gone |= {name for name in listed(fs, output) if name in replaced}
    _remove_fragments(fs, output, gone)
    _wait_for_stragglers(fs, output, lease, before)
    orphans, lost = _orphans(fs, output, before), _lost_sidecars(fs, output)
    lease.confirm()
    for name in orphans:
        storage.remove(fs, storage.join(output, SHARDS, name))
    for kind, stem in lost:
        remove_sidecars(fs, output, stem, [kind])
    nameless = _remove_nameless(fs, output, lease)
    late = _stragglers(fs, output, lease, before)
    _remove_fragments(fs, output, late)  # their shards may just have gone
    for name in stale_marks(fs, output):
        storage.remove(fs, storage.join(output, DAMAGED, name))
    count = len(gone) + len(orphans) + len(lost) + nameless + len(late)
    count += sum(storage.abort_uploads(fs, storage.join(output, folder)) for folder in (SHARDS, FILES))
    return count + _remove_parts(fs, output, began_at)


def _remove_fragments(fs: FileSystem, output: str, names: set[str]) -> None:
    for name in sorted(names):
        storage.remove(fs, storage.join(output, INDEX, name))


def _stragglers(fs: FileSystem, output: str, lease: Lease, before: Shards) -> set[str]:
    """Fragments of earlier turns that have appeared since the run began: whoever wrote them had lost the lease."""
    new = [name for name in listed(fs, output) if name not in before]
    if any(epoch_of(name) > lease.claim.epoch for name in new):
        raise LeaseError("another run has taken over this output and written to it; this one stops")
    return {name for name in new if epoch_of(name) < lease.claim.epoch}


def _wait_for_stragglers(fs: FileSystem, output: str, lease: Lease, before: Shards) -> None:
    """Let come what is on its way from a run that was overtaken, if there is a sign of that."""
    if lease.overtook_at is not None and _orphans(fs, output, before):
        time.sleep(max(lease.overtook_at + GRACE_S - time.monotonic(), 0))


def _orphans(fs: FileSystem, output: str, before: Shards) -> list[str]:
    """Shards that no fragment speaks of, among those that Recast named. A fragment that is not in `before` is this
    run's, and speaks of its own."""
    # Shards are listed first: one committed in between then has its fragment in the second listing.
    shards, kept = storage.sizes(fs, storage.join(output, SHARDS)), listed(fs, output)
    fragment_of = {name: f"{name.rpartition('.')[0]}.parquet" for name in shards if OWN_NAME.fullmatch(name)}
    return [name for name, its in fragment_of.items() if its not in kept or before.get(its, name) not in (ANY, name)]


def _remove_nameless(fs: FileSystem, output: str, lease: Lease) -> int:
    """Remove plain files that no current row names; as long as a fragment is damaged, they may be of its rows."""
    if not plain_files.is_ours(fs, output) or (named := named_files(fs, output)) is None:
        return 0
    count = 0
    for batch in plain_files.unnamed(fs, output, named):
        lease.confirm()  # after the listing: what another run writes, once it has the lease, is not in it
        count += plain_files.remove(fs, output, batch)
    return count


def _lost_sidecars(fs: FileSystem, output: str) -> list[tuple[str, str]]:
    """Kinds and stems of tables without a fragment, among those that Recast named."""
    tables = [(kind, stem) for kind in KINDS for stem in stems_with_sidecars(fs, output, kind)]
    kept = {name.removesuffix(".parquet") for name in listed(fs, output)}
    return [(kind, stem) for kind, stem in tables if stem not in kept and OWN_NAME.fullmatch(f"{stem}.parquet")]


def _still_damaged(fs: FileSystem, output: str, damaged: Sequence[Fragment]) -> set[str]:
    """The fragments that were found damaged, and that the run has not overwritten with sound ones."""
    if not damaged:
        return set()
    names = {f.name for f in damaged if OWN_NAME.fullmatch(f.name)}
    return {f.name for f in fragments(fs, output, ["key"]) if f.rows is None and f.name in names}


def _remove_parts(fs: FileSystem, output: str, began_at: datetime.datetime) -> int:
    """On local disk: half-written temporary files of dead writers, older than this run."""
    if not storage.is_local(fs):
        return 0
    count = 0
    for folder in (INDEX, SHARDS, FILES, *KINDS):
        for path in fs.glob(storage.join(output, folder, ".*.part")):
            if fs.isfile(path) and fs.modified(path).replace(tzinfo=datetime.UTC) < began_at:
                storage.remove(fs, path)
                count += 1
    return count
