"""The commands that are broken at every call: what is there before, what is asked, and what must be so afterwards."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from recast.jobs import index
from recast.pipeline.bulk import pool
from recast.pipeline.bulk.attempts import Attempts
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.deidentify.secrets.seal import SealError, opened_lock, relock
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.storage import StorageError
from tests.pipeline.protocol import archive
from tests.pipeline.protocol.archive import annotation, deidentification, image, job, put_source, restoration, shading
from tests.pipeline.protocol.expected import (
    ALL,
    Amiss,
    annotated,
    in_order,
    one_passcode_opens,
    restorable,
    restored,
    sound,
)
from tests.pipeline.protocol.invocation import at, output, run
from tests.pipeline.protocol.simulation import OneWorker
from tests.pipeline.protocol.store import Bucket, Crash, Trouble

BATCHES = {"shard_images": 4, "batch_size": 2}
"""Images of one shape go through together, and so in another order than they are listed in."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command over the archive."""

    name: str
    prepare: Callable[[Bucket], None]
    """Each command of it in a process of its own."""
    run: Callable[[], None]
    after: Amiss
    """What is wrong once it has run to its end."""
    meanwhile: Amiss = lambda _: iter(())
    """What is wrong with the output right after a crash, besides bytes that aren't their row's."""
    damages: bool = False
    """Whether it begins with an output that is damaged, so that bytes may be wrong after a crash."""
    hidden: bool = False
    """Whether keys are hashes that each output has its own of."""
    loses: frozenset[str] = frozenset()
    """Keys that have no row afterwards, or none for a while."""


def begun(bucket: Bucket, *works: Callable[[], None]) -> None:
    """The archive, and what was done with it before, undisturbed."""
    put_source(bucket)
    for number, work in enumerate(works):
        at(bucket, f"before-{number}", work)


def change(bucket: Bucket, key: str) -> None:
    bucket.put(f"b/in/{key}", image(f"{key} changed"))


def interrupted(bucket: Bucket, call: int = 24, **changes: Any) -> None:
    """A run that ended with half of its shards committed, right after a call."""
    put_source(bucket)
    with contextlib.suppress(Crash):
        at(bucket, "dead", lambda: run(job(**changes), shading()), Trouble("after", call))
    assert 0 < len(output(bucket).current()) < len(ALL)


def _changed_twice(bucket: Bucket, work: Callable[[], None]) -> None:
    """A finished output, some of whose images were changed and done again."""
    begun(bucket, work)
    for name in ("a.png", "c.png"):
        change(bucket, name)
        at(bucket, f"change-{name}", work)


def _vanished(bucket: Bucket, work: Callable[[], None]) -> None:
    begun(bucket, work)
    del bucket.blobs["b/in/a.png"]
    bucket.put("b/in/p.tar", archive.packed(archive.PACKED[:1]))


def _half_uploaded(bucket: Bucket) -> None:
    """One image is gone, and the tar is damaged for a moment: what it held may not be taken for gone."""
    begun(bucket, lambda: run(job(), shading()))
    del bucket.blobs["b/in/a.png"]
    bucket.put("b/in/p.tar", archive.packed(archive.PACKED)[:300])


def _compact() -> None:
    index.compact(archive.OUTPUT, shard_images=100, shard_bytes=1 << 20)


def _damaged(bucket: Bucket) -> None:
    """One shard with a flipped bit in an image, another one cut short."""
    begun(bucket, lambda: run(job(), shading()))
    first, second = [path for path in sorted(bucket.blobs) if path.startswith("b/out/shards/")][:2]
    data = bytearray(bucket.blobs[first].data)
    data[700] ^= 1
    bucket.put(first, bytes(data))
    bucket.put(second, bucket.blobs[second].data[:-100])


def _verify_and_repair() -> None:
    """A check that could not mark what it found says so, with status 1; then the rerun repairs nothing."""
    faults = verify(archive.OUTPUT).faults
    if unmarked := [fault for fault in faults if "could not be marked" in fault]:
        raise StorageError(str(unmarked))
    run(job(), shading())


class _Undone(Attempts):
    """What a ledger knows of a unit whose first worker died after its last commit, before it could say so."""

    def finish(self, unit: str) -> None:
        if self._units[unit].attempts > 1:
            super().finish(unit)


class _DyingWorkers(OneWorker):
    """Every unit is done by one that dies at the end, and again by one that goes image by image."""

    def map(self, work: WorkerSettings, units: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
        for unit in units:
            ledger = _Undone()
            UnitWorker(work, self._payload, attempts=ledger)(unit)
            yield from UnitWorker(work, self._payload, attempts=ledger)(unit).to_pylist()


def _with_deaths(asked: BulkJob) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "Pool", _DyingWorkers)
        run(asked, shading())


def _rekey() -> None:
    """Once it has taken effect, the old passcode doesn't fit any more; `after` looks whether the new one does."""
    with contextlib.suppress(SealError):
        relock(archive.OUTPUT, opened_lock(archive.OUTPUT, archive.PASSCODE), archive.OTHER_PASSCODE)


def _seal(**changes: Any) -> None:
    run(*deidentification(**changes))


def _damaged_files(bucket: Bucket) -> None:
    """One result with a flipped bit, another one gone, and a third cut short."""
    begun(bucket, lambda: run(job(shards="files"), shading()))
    first, second, third = [path for path in sorted(bucket.blobs) if path.startswith("b/out/files/")][1:4]
    data = bytearray(bucket.blobs[first].data)
    data[100] ^= 1
    bucket.put(first, bytes(data))
    del bucket.blobs[second]
    bucket.put(third, bucket.blobs[third].data[:-10])


def _files_repaired() -> None:
    faults = verify(archive.OUTPUT).faults
    if unmarked := [fault for fault in faults if "could not be marked" in fault]:
        raise StorageError(str(unmarked))
    run(job(shards="files"), shading())


GONE = tuple(key for key in ALL if key not in ("a.png", "p.tar/g.png"))
UNSURE = (*(key for key in ALL if key != "a.png"), "p.tar")

COMMANDS = (
    Command(name="run", prepare=put_source, run=lambda: run(job(**BATCHES), shading()), after=in_order),
    Command(name="run here", prepare=put_source, run=lambda: run(job(on="here", **BATCHES), shading()), after=in_order),
    Command(
        name="resume here", prepare=interrupted, run=lambda: run(job(on="here"), shading()), after=sound()
    ),
    Command(
        name="run into Parquet", prepare=put_source, run=lambda: run(job(shards="parquet"), shading()), after=sound()
    ),
    Command(name="resume", prepare=interrupted, run=lambda: run(job(), shading()), after=sound()),
    Command(
        name="run whose workers die", prepare=put_source, run=lambda: _with_deaths(job(**BATCHES)),
        after=in_order,
    ),
    Command(
        name="run over changes", prepare=lambda b: (begun(b, lambda: run(job(), shading())), change(b, "b.png"))[0],
        run=lambda: run(job(), shading()), after=sound(changed=("b.png",)),
    ),
    Command(
        name="retry", prepare=lambda b: begun(b, lambda: run(job(), shading(failing=["a.png", "d/e.png"]))),
        run=lambda: run(job(retry_failed=True), shading()), after=sound(),
    ),
    Command(
        name="replace", prepare=lambda b: begun(b, lambda: run(job(), shading())),
        run=lambda: run(job(replace=True), shading(9)), after=sound(by=9),
    ),
    Command(
        name="prune", prepare=lambda b: _vanished(b, lambda: run(job(), shading())),
        run=lambda: run(job(prune=True), shading()), after=sound(GONE), loses=frozenset({"a.png", "p.tar/g.png"}),
    ),
    Command(
        name="prune with a damaged archive", prepare=_half_uploaded,
        run=lambda: run(job(prune=True), shading()), after=sound(UNSURE, failed=("broken.png", "p.tar")),
        loses=frozenset({"a.png"}),
    ),
    Command(
        name="compact", prepare=lambda b: _changed_twice(b, lambda: run(job(), shading())), run=_compact,
        after=sound(changed=("a.png", "c.png"), tidy=True),
    ),
    Command(
        name="compact Parquet", prepare=lambda b: _changed_twice(b, lambda: run(job(shards="parquet"), shading())),
        run=_compact, after=sound(changed=("a.png", "c.png"), tidy=True),
    ),
    Command(
        name="verify and repair", prepare=_damaged, run=_verify_and_repair, after=sound(), damages=True,
        loses=frozenset(ALL),
    ),
    Command(
        name="run into files", prepare=put_source, run=lambda: run(job(shards="files", **BATCHES), shading()),
        after=sound(),
    ),
    Command(
        name="run into files here", prepare=put_source, run=lambda: run(job(on="here", shards="files"), shading()),
        after=sound(),
    ),
    Command(
        name="resume into files", prepare=lambda b: interrupted(b, 40, shards="files"),
        run=lambda: run(job(shards="files"), shading()), after=sound(),
    ),
    Command(
        name="run into files whose workers die", prepare=put_source,
        run=lambda: _with_deaths(job(shards="files", **BATCHES)), after=sound(),
    ),
    Command(
        name="run over changes into files", run=lambda: run(job(shards="files"), shading()),
        prepare=lambda b: (begun(b, lambda: run(job(shards="files"), shading())), change(b, "b.png"))[0],
        after=sound(changed=("b.png",)), loses=frozenset({"b.png"}),
    ),
    Command(
        name="retry into files", run=lambda: run(job(retry_failed=True, shards="files"), shading()), after=sound(),
        prepare=lambda b: begun(b, lambda: run(job(shards="files"), shading(failing=["a.png", "d/e.png"]))),
    ),
    Command(
        name="replace into files", prepare=lambda b: begun(b, lambda: run(job(shards="files"), shading())),
        run=lambda: run(job(replace=True, shards="files"), shading(9)), after=sound(by=9), loses=frozenset(ALL),
    ),
    Command(
        name="replace tars by files", prepare=lambda b: begun(b, lambda: run(job(), shading())),
        run=lambda: run(job(replace=True, shards="files"), shading(9)), after=sound(by=9),
    ),
    Command(
        name="replace files by tars", prepare=lambda b: begun(b, lambda: run(job(shards="files"), shading())),
        run=lambda: run(job(replace=True), shading(9)), after=sound(by=9),
    ),
    Command(
        name="prune files", prepare=lambda b: _vanished(b, lambda: run(job(shards="files"), shading())),
        run=lambda: run(job(prune=True, shards="files"), shading()), after=sound(GONE),
        loses=frozenset({"a.png", "p.tar/g.png"}),
    ),
    Command(
        name="compact files", prepare=lambda b: _changed_twice(b, lambda: run(job(shards="files"), shading())),
        run=_compact, after=sound(changed=("a.png", "c.png"), tidy=True),
    ),
    Command(
        name="verify and repair files", prepare=_damaged_files, run=_files_repaired, after=sound(), damages=True,
        loses=frozenset(ALL),
    ),
    Command(
        name="deidentify into files with seals", prepare=put_source, run=lambda: _seal(shards="files"),
        after=restorable(),
    ),
    Command(
        name="deidentify into files with hidden names", prepare=put_source,
        run=lambda: _seal(hidden=True, shards="files"), after=restorable(hidden=True), hidden=True,
    ),
    Command(
        name="prune files with seals", prepare=lambda b: _vanished(b, lambda: _seal(shards="files")),
        run=lambda: _seal(prune=True, shards="files"), after=restorable(GONE),
        loses=frozenset({"a.png", "p.tar/g.png"}),
    ),
    Command(name="deidentify with seals", prepare=put_source, run=_seal, after=restorable()),
    Command(
        name="deidentify here, with seals", prepare=put_source, run=lambda: _seal(on="here"), after=restorable()
    ),
    Command(
        name="deidentify with hidden names", prepare=put_source, run=lambda: _seal(hidden=True, shards="parquet"),
        after=restorable(hidden=True), hidden=True,
    ),
    Command(
        name="compact with seals", prepare=lambda b: _changed_twice(b, _seal), run=_compact,
        after=restorable(changed=("a.png", "c.png"), tidy=True),
    ),
    Command(
        name="prune with seals", prepare=lambda b: _vanished(b, _seal), run=lambda: _seal(prune=True),
        after=restorable(GONE), loses=frozenset({"a.png", "p.tar/g.png"}),
    ),
    Command(
        name="rekey", prepare=lambda b: begun(b, _seal), run=_rekey, meanwhile=one_passcode_opens,
        after=restorable(passcode=archive.OTHER_PASSCODE),
    ),
    Command(name="annotate", prepare=put_source, run=lambda: run(*annotation()), after=annotated()),
    Command(
        name="annotate over changes",
        prepare=lambda b: (begun(b, lambda: run(*annotation())), change(b, "b.png"))[0],
        run=lambda: run(*annotation()), after=annotated(changed=("b.png",)),
    ),
    Command(
        name="annotate with drawings", prepare=put_source, run=lambda: run(*annotation("instances")),
        after=annotated(drawn=True),
    ),
    Command(name="restore", prepare=lambda b: begun(b, _seal), run=lambda: run(*restoration()), after=restored),
)  # fmt: skip

BY_NAME = {command.name: command for command in COMMANDS}


def named(name: str, **changes: Any) -> Command:
    return dataclasses.replace(BY_NAME[name], **changes)
