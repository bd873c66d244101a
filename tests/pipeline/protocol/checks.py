"""The smallest checks that catch each of the seeded faults. Each raises AssertionError where the protocol is broken."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from recast.pipeline.deidentify.secrets.seal import SealError
from recast.pipeline.output import index
from tests.pipeline.protocol import commands, points
from tests.pipeline.protocol.archive import deidentification
from tests.pipeline.protocol.commands import Command
from tests.pipeline.protocol.faults import everywhere
from tests.pipeline.protocol.invocation import at, run
from tests.pipeline.protocol.schedule import KEYS, Schedule, Turn
from tests.pipeline.protocol.store import Bucket, Kind, Trouble

Check = Callable[[], None]
LONG_S = 100.0
"""More than a lease takes to expire."""


def undisturbed(name: str) -> Check:
    """A command must end well where nothing goes wrong."""
    return lambda: (points.survey(commands.named(name)), None)[1]


def broken(command: str | Command, kind: Kind, call: str, *, most: int = 6) -> Check:
    """A command broken at calls of this kind."""

    def check() -> None:
        known = points.survey(commands.named(command) if isinstance(command, str) else command)
        calls = [n for n, made in enumerate(known.trace, 1) if made.startswith(call)]
        assert calls, f"there is no {call} in {known.trace}"
        dice = random.Random(0)
        for n in calls if len(calls) <= most else dice.sample(calls, most):
            assert not (wrong := list(points.amiss(known, Trouble(kind, n)))), wrong

    return check


def scheduled(script: Callable[[Schedule], None], *, conditions: bool = True) -> Check:
    """Writers in one certain order."""

    def check() -> None:
        schedule = Schedule(Bucket(conditions))
        try:
            script(schedule)
            schedule.end()
        finally:
            for turn in schedule.turns:
                turn.writer.kill()

    return check


def overtaken(schedule: Schedule, *, at: str = "PUT b/out/index", **how: Any) -> Turn:
    """A writer that stands still, and for so long that another may take its lease."""
    late = schedule.start(**how)
    schedule.until(late, at)
    schedule.tick(LONG_S)
    return late


def late_commit(schedule: Schedule) -> None:
    """What was on its way arrives after another run has settled all, and says that it is newer. It is of failed images,
    so that no sweep has taken its shard away."""
    late = overtaken(schedule, skew_s=10_000.0, failing=KEYS)
    schedule.finish(schedule.start(by=1, replace=True))
    schedule.finish(late)


def late_shard(schedule: Schedule) -> None:
    """A writer that was overtaken between its commits goes on, and commits nothing."""
    late = overtaken(schedule, at="PUT b/out/shards")
    schedule.finish(schedule.start(by=1, replace=True))
    schedule.finish(late)


def late_commit_after_compaction(schedule: Schedule) -> None:
    late = overtaken(schedule, failing=KEYS)
    schedule.finish(schedule.start(by=1, replace=True))
    schedule.tick(LONG_S)
    schedule.finish(schedule.compact())
    schedule.finish(late)


def late_commit_into_a_sweep(schedule: Schedule) -> None:
    """It arrives while the other run removes its shard, which nothing spoke of."""
    late = overtaken(schedule)
    other = schedule.start(by=1, replace=True)
    schedule.until(other, "DELETE b/out/shards")
    schedule.finish(late)
    schedule.finish(other)


def wrong_clock(schedule: Schedule) -> None:
    """An input changes, and the run that takes it up has a clock that is behind."""
    schedule.finish(schedule.start(skew_s=5000.0))
    schedule.change("a.png", "another")
    schedule.tick(LONG_S)
    schedule.finish(schedule.start())


def there_and_back(schedule: Schedule) -> None:
    """An input changes and changes back, while a writer of its first state stands still before its commit."""
    late = schedule.start(limit=1)
    schedule.until(late, "PUT b/out/index")
    for to in ("a.png", "another", "a.png"):
        schedule.change("a.png", to)
        schedule.tick(LONG_S)
        schedule.finish(schedule.start(limit=1))
    schedule.finish(late)


def late_renewal(schedule: Schedule) -> None:
    """A renewal that was on its way arrives when another has taken the lease."""
    late = schedule.start()
    schedule.until(late, "PUT b/out/shards")
    schedule.tick(15.0)
    (renewer,) = late.writer.others
    while not renewer.next.startswith("PUT b/out/lease"):
        renewer.step()
    schedule.tick(LONG_S)
    other = schedule.start()
    schedule.until(other, "PUT b/out/shards")
    schedule.renew(late)
    schedule.finish(other)


def two_takers(schedule: Schedule) -> None:
    """Two writers want the lease of a dead one at the same moment."""
    dead = overtaken(schedule)
    schedule.kill(dead)
    _both_take(schedule)


def two_beginners(schedule: Schedule) -> None:
    """Two writers begin at the same moment."""
    _both_take(schedule)


def _both_take(schedule: Schedule) -> None:
    both = [schedule.start(), schedule.start(by=1, replace=True)]
    for turn in both:
        schedule.until(turn, "PUT b/out/lease")
    for turn in both:
        schedule.until(turn, "PUT b/out/index")
    for turn in both:
        schedule.step(turn)
    for turn in both:
        schedule.finish(turn)


def finished(schedule: Schedule) -> None:
    """A run, and after it another one."""
    schedule.finish(schedule.start())
    schedule.finish(schedule.start())


def colliding_hashes() -> None:
    """Two keys with one hash are two keys: a compaction keeps both."""
    real = index.key_hashes
    with pytest.MonkeyPatch.context() as patch:
        everywhere(patch, real, lambda texts: real("a.png" if text == "b.png" else text for text in texts))
        undisturbed("compact")()


def lost_lock() -> None:
    """Over existing seals a lock that was lost is not made anew."""
    bucket = Bucket()
    commands.begun(bucket, lambda: run(*deidentification()))
    del bucket.blobs["b/out/seals/lock.json"]
    commands.change(bucket, "a.png")
    with pytest.raises(SealError):
        at(bucket, "again", lambda: run(*deidentification()))
    assert "b/out/seals/lock.json" not in bucket.blobs
