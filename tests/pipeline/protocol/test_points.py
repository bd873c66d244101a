"""Every command broken at every call to the store, then given again: it ends as if nothing had been.

`make test` tries a seeded sample of the points, RECAST_TEST_POINTS=all all of them, =0.3 three in ten.
"""

import contextlib
import functools
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from recast.pipeline.output import index
from tests.pipeline.protocol.checks import broken
from tests.pipeline.protocol.commands import COMMANDS, Command, named
from tests.pipeline.protocol.points import amiss, sample, survey
from tests.pipeline.protocol.simulation import simulated
from tests.pipeline.protocol.store import Kind
from tests.pipeline.protocol.training import CHECKPOINTS

SHARE = "0.03"
"""Of the points of each command, in `make test`."""
SEED = 15
PLAIN = ("run", "replace", "prune", "compact with seals", "run into files", "replace into files")
"""Commands that are also tried on a store without conditional writes; their leases are the only difference."""
DECODED = 10_000
"""Fragments that are remembered as they were decoded."""
CASES = [(command, True) for command in (*COMMANDS, CHECKPOINTS)] + [(named(name), False) for name in PLAIN]


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Fragments of the same bytes are decoded once: a repetition reads each a dozen times, half of all its time."""

    @functools.lru_cache(DECODED)
    def once(data: bytes, name: str, columns: tuple[str, ...]) -> Any:
        return decoded(data, name, columns)

    def again(data: bytes, name: str, columns: Sequence[str]) -> Any:
        rows, about = once(bytes(data), name, tuple(columns))
        return rows, dict(about)

    decoded = index.decoded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "decoded", again)
        yield


@pytest.mark.parametrize(
    ("command", "conditions"), CASES, ids=[f"{c.name}{'' if on else ' plainly'}" for c, on in CASES]
)
def test_a_command_broken_at_any_call_and_given_again_ends_as_if_nothing_had_been(
    command: Command, conditions: bool, record_property
):
    """Crash before the call, crash after it, answer lost, call refused: the same keys, statuses and bytes as of a run
    that was left alone; nothing lost, doubled or orphaned; seals open once each. A fault that is told is a sentence."""
    asked = os.environ.get("RECAST_TEST_POINTS", SHARE)
    with simulated(), remembered():
        known = survey(command, conditions=conditions)
        dice = random.Random(f"{SEED} {command.name} {conditions}")
        points = known.troubles() if asked == "all" else sample(known, float(asked), dice)
        record_property("points", len(points))
        record_property("of", len(known.troubles()))
        found = {f"{t.kind} {t.call} {known.trace[t.call - 1]}": list(amiss(known, t)) for t in points}
    assert not (wrong := {point: what for point, what in found.items() if what}), wrong


@pytest.mark.parametrize(
    ("command", "kind", "call"),
    [
        ("restore", "lost", "GET b/out/seals/"),
        ("restore", "refused", "LIST b/out/shards"),
        ("compact", "lost", "LIST b/out/index"),
        ("retry", "after", "PUT b/out/shards"),
        ("run whose workers die", "after", "PUT b/out/shards"),
    ],
)
def test_points_that_were_wrong_once(command: str, kind: Kind, call: str):
    """Seals that couldn't be read made a failed row for good; a compaction ended in no sentence; the shard of an image
    tried again, and of one whose worker died, stayed without its rows."""
    with simulated():
        broken(command, kind, call, most=2)()
