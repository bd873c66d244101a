"""Several writers on one output, whatever the order of their calls: what may happen, and what must hold meanwhile.

A schedule is told by its methods, from a script or by chance; after each of them `hold` looks at the files alone.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recast.jobs import index
from recast.pipeline import storage
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output.index import current
from tests.pipeline.protocol import archive, reader
from tests.pipeline.protocol.archive import image, job, shading
from tests.pipeline.protocol.expected import pixels, shaded
from tests.pipeline.protocol.invocation import run
from tests.pipeline.protocol.store import Bucket, Process
from tests.pipeline.protocol.writers import Writer

KEYS = ("a.png", "b.png", "c.png")
LEASE = "b/out/lease.json"

Result = tuple[str, int]
"""What a row is of: its source's ETag, and the shade that made it."""
MODELS = {shading(by).digest: by for by in range(10)}


@dataclass(slots=True)
class Turn:
    """A writer, and what a finished one of it means."""

    writer: Writer
    by: int | None
    """The shade it makes; None: it makes nothing."""
    listed: dict[str, str]
    """What it takes up of the source as it was when it began: ETag by key."""
    taken_at: float = float("inf")
    """When it first wrote the lease."""
    ended: bool = False
    may_commit: int | None = None
    """How many fragments it may still write, once another has taken the lease: what is on its way."""
    commits: int = 0
    """How many it had written then."""

    def written(self) -> int:
        return sum(call.startswith("PUT b/out/index") for call in self.writer.process.trace)


@dataclass(slots=True)
class Schedule:
    """An archive of three images and its output, on a store with or without conditional writes."""

    bucket: Bucket
    turns: list[Turn] = field(default_factory=list)
    settled: dict[str, tuple[Result, float]] = field(default_factory=dict)
    """What the last finished run settled, by key, and when that run took the lease."""
    epoch: int = 0
    """The greatest that the lease has told of."""

    def __post_init__(self) -> None:
        for key in KEYS:
            self.change(key, key)

    # What may happen

    def change(self, key: str, to: str) -> None:
        """An input is another now, or one that it was before."""
        self.bucket.put(f"b/in/{key}", image(to))

    def remove(self, key: str) -> None:
        """An input is gone; what a run settled of it may stay or go."""
        if len(self._source()) > 1:
            self.bucket.blobs.pop(f"b/in/{key}", None)
            self.settled.pop(key, None)

    def start(self, *, by: int = 0, skew_s: float = 0.0, failing: tuple[str, ...] = (), **changes: Any) -> Turn:
        """A run begins, with these changes of the job; some images may fail, and then it writes no shard for them."""
        listed = dict(sorted(self._source().items())[: changes.get("limit")])
        return self._begin(lambda: run(job(**changes), shading(by, failing)), by, listed, skew_s)

    def compact(self) -> Turn:
        return self._begin(lambda: index.compact(archive.OUTPUT, shard_images=100, shard_bytes=1 << 20), None, {})

    def verify(self) -> Turn:
        return self._begin(lambda: verify(archive.OUTPUT), None, {})

    def step(self, turn: Turn, count: int = 1) -> None:
        turn.writer.step(count)
        self.hold()

    def until(self, turn: Turn, what: str) -> None:
        turn.writer.until(what)
        self.hold()

    def finish(self, turn: Turn) -> None:
        turn.writer.finish()
        self.hold()

    def renew(self, turn: Turn, count: int = 2) -> None:
        turn.writer.renew(count)
        self.hold()

    def kill(self, turn: Turn) -> None:
        turn.writer.kill()
        self.hold()

    def tick(self, seconds: float) -> None:
        """Time goes by: for whoever stands still it is a pause."""
        self.bucket.now_s += seconds

    # What must hold

    def hold(self) -> None:
        """Raise AssertionError if what the files say can't be."""
        for turn in self.turns:
            self._noted(turn)
        reading = self.reading()
        assert not (wrong := [*reader.wrong_bytes(reading), *reader.doubled(reading), *reading.torn]), wrong
        rows = reading.current()
        self._hold_settled(rows)
        self._hold_turns(reading)
        self._hold_lease()

    def end(self) -> None:
        """Everybody is killed; then one more run makes all of it good."""
        for turn in self.turns:
            turn.writer.kill()
        self.hold()
        self.tick(1000)
        last = self.start(replace=True)
        self.finish(last)
        assert last.writer.fault is None, f"alone, and yet: {last.writer.fault!r}"
        reading = self.reading()
        assert not (left := list(reader.leavings(reading))), left
        rows = reading.current()
        for key, etag in self._source().items():
            assert key in rows, f"{key} is missing"
            assert _result(rows[key]) == (etag, 0), f"{key} is of {_result(rows[key])}, not of {(etag, 0)}"
            made = shaded(self.bucket.blobs[f"b/in/{key}"].data, 0)
            assert np.array_equal(pixels(reading, rows[key]), made), f"{key} has the pixels of something else"

    def reading(self) -> reader.Reading:
        return reader.read(self.bucket.below("b/out"))

    # How

    def _begin(self, work: Callable[[], Any], by: int | None, listed: dict[str, str], skew_s: float = 0.0) -> Turn:
        writer = Writer(f"writer-{len(self.turns)}", self.bucket, work, skew_s=skew_s)
        self.turns.append(Turn(writer, by, listed))
        return self.turns[-1]

    def _source(self) -> dict[str, str]:
        return {p.removeprefix("b/in/"): b.etag for p, b in self.bucket.blobs.items() if p.startswith("b/in/")}

    def _noted(self, turn: Turn) -> None:
        """Who has the lease by now, and who is done."""
        if turn.taken_at == float("inf") and self._holder() == turn.writer.process.name:
            turn.taken_at = self.bucket.now_s
            for other in self.turns:
                if other.taken_at < turn.taken_at and other.may_commit is None:
                    other.may_commit = int(other.writer.main.next.startswith("PUT b/out/index"))
                    other.commits = other.written()
        if turn.may_commit is not None and turn.by is not None:
            late = turn.written() - turn.commits
            assert late <= turn.may_commit, f"{turn.writer.process.name} had lost the lease, and committed {late}"
        if turn.ended or turn.writer.alive:
            return
        turn.ended = True
        fault = turn.writer.fault
        if fault is not None and not turn.writer.process.dead:
            assert type(fault).__module__.startswith("recast."), f"no sentence: {fault!r}"
        self._hold_view()
        if fault is None and turn.by is not None:
            assert LEASE in self.bucket.blobs, "a run is done, and its lease is gone, and its epoch with it"
            now = self._source()
            same = {key: etag for key, etag in turn.listed.items() if now.get(key) == etag}
            self.settled |= {key: ((etag, turn.by), turn.taken_at) for key, etag in same.items()}
            if not any(other.writer.alive for other in self.turns):
                assert not (left := list(reader.leavings(self.reading()))), left

    def _hold_settled(self, rows: dict[str, dict[str, Any]]) -> None:
        """What a finished run settled stays, until a later one settles it otherwise."""
        for key, (result, since) in self.settled.items():
            if key not in self._source():
                continue
            assert key in rows, f"{key} was settled, and has no row"
            if (found := _result(rows[key])) == result:
                continue
            later = {turn.by for turn in self.turns if turn.taken_at > since}
            assert found[1] in later, f"{key} is of {found}; a finished run had settled it as {result}"

    def _hold_turns(self, reading: reader.Reading) -> None:
        """No two runs have one epoch."""
        runs: dict[int, set[str]] = {}
        for fragment in reading.fragments:
            for row in fragment.rows:
                if row.get("epoch"):
                    runs.setdefault(row["epoch"], set()).add(row["run"])
        assert not (both := {e: names for e, names in runs.items() if len(names) > 1}), f"one epoch, two runs: {both}"

    def _hold_lease(self) -> None:
        """Once there is a lease, it stays, and its epoch never goes back."""
        epoch = self._lease().get("epoch", 0)
        assert epoch >= self.epoch, f"the lease is of turn {epoch} again, after {self.epoch}"
        self.epoch = epoch

    def _lease(self) -> dict[str, Any]:
        return json.loads(self.bucket.blobs[LEASE].data) if LEASE in self.bucket.blobs else {}

    def _holder(self) -> str:
        """Writers' names are those of their hosts."""
        return self._lease().get("host", "")

    def _hold_view(self) -> None:
        """What the product takes for current is what the files say."""
        with Process("look", self.bucket):
            fs, path = storage.filesystem(archive.OUTPUT)
            rows = {row["key"]: _result(row) for row in current(fs, path, ["key", "fingerprint", "model"]).to_pylist()}
        assert rows == {key: _result(row) for key, row in self.reading().current().items()}


def _result(row: dict[str, Any]) -> Result:
    return row["fingerprint"].removeprefix("etag:"), MODELS[row["model"]]
