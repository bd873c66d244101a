"""Writers in any order, paused, killed, late, with wrong clocks: what a finished run settled stays settled."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.pipeline.protocol.schedule import KEYS, Schedule, Turn
from tests.pipeline.protocol.simulation import simulated
from tests.pipeline.protocol.store import Bucket

EXAMPLES, STEPS = 30, 20
"""In `make test`; RECAST_TEST_SCHEDULES=N tries N in place of them."""
MOST_WRITERS = 5
COUNT = st.sampled_from((1, 1, 2, 3, 5, 8, 13))
SHADE = st.sampled_from((0, 0, 1))
KIND = st.sampled_from(("run", "run", "run", "replace", "replace", "prune", "compact", "verify"))
SKEW = st.sampled_from((0.0, -400.0, 400.0))
PAUSE = st.sampled_from(
    ("PUT b/out/index", "PUT b/out/index", "PUT b/out/lease", "PUT b/out/shards", "DELETE", "PUT b/out/runs")
)
"""What a writer is about to do when it stands still."""


class Schedules(RuleBasedStateMachine):
    """Whatever may happen to an output."""

    conditions = True

    @initialize()
    def begin(self) -> None:
        self.world = simulated()
        self.world.__enter__()
        self.schedule = Schedule(Bucket(self.conditions))

    @precondition(lambda self: len(self.schedule.turns) < MOST_WRITERS)
    @rule(by=SHADE, kind=KIND, skew_s=SKEW, what=PAUSE)
    def start(self, by: int, kind: str, skew_s: float, what: str) -> None:
        """A writer begins, and stands still somewhere on its way."""
        self.schedule.until(self._started(by, kind, skew_s), what)

    @precondition(lambda self: len(self.schedule.turns) < MOST_WRITERS)
    @rule(by=SHADE, kind=KIND, skew_s=SKEW)
    def overtake(self, by: int, kind: str, skew_s: float) -> None:
        """All others stand still for long; a new writer comes and goes through with it."""
        self.schedule.tick(100)
        self.schedule.finish(self._started(by, kind, skew_s))

    @precondition(lambda self: self._alive())
    @rule(choice=st.integers(0, 99), count=COUNT)
    def step(self, choice: int, count: int) -> None:
        self.schedule.step(self._chosen(choice), count)

    @precondition(lambda self: self._alive())
    @rule(choice=st.integers(0, 99))
    def finish(self, choice: int) -> None:
        self.schedule.finish(self._chosen(choice))

    @precondition(lambda self: self._alive())
    @rule(choice=st.integers(0, 99), what=PAUSE)
    def pause_before(self, choice: int, what: str) -> None:
        self.schedule.until(self._chosen(choice), what)

    @precondition(lambda self: self._alive())
    @rule(choice=st.integers(0, 99), count=st.integers(1, 4))
    def renew(self, choice: int, count: int) -> None:
        self.schedule.renew(self._chosen(choice), count)

    @precondition(lambda self: self._alive())
    @rule(choice=st.integers(0, 99))
    def kill(self, choice: int) -> None:
        self.schedule.kill(self._chosen(choice))

    @rule(seconds=st.sampled_from((0.5, 5.0, 15.0, 90.0)))
    def tick(self, seconds: float) -> None:
        self.schedule.tick(seconds)

    @rule(key=st.sampled_from(KEYS), to=st.integers(0, 2))
    def change(self, key: str, to: int) -> None:
        self.schedule.change(key, f"{key} {to}")

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        self.schedule.remove(key)

    def teardown(self) -> None:
        if not hasattr(self, "schedule"):
            return
        try:
            self.schedule.end()
        finally:
            for turn in self.schedule.turns:
                turn.writer.kill()
            self.world.__exit__(None, None, None)

    def _started(self, by: int, kind: str, skew_s: float) -> Turn:
        if kind in ("compact", "verify") and self.schedule.turns:
            return self.schedule.compact() if kind == "compact" else self.schedule.verify()
        changes = {kind: True} if kind in ("replace", "prune") else {}
        return self.schedule.start(by=by, skew_s=skew_s, **changes)

    def _alive(self) -> list[Turn]:
        return [turn for turn in self.schedule.turns if turn.writer.alive]

    def _chosen(self, choice: int) -> Turn:
        alive = self._alive()
        return alive[choice % len(alive)]


class UnconditionalSchedules(Schedules):
    """On a store that takes every write."""

    conditions = False


@pytest.mark.parametrize("machine", [Schedules, UnconditionalSchedules])
def test_what_a_finished_run_settled_stays_whatever_the_order_of_calls(machine):
    """Reading the files alone after every step: no two runs in one turn, no bytes but a row's own, nothing older than
    what a finished run settled; and in the end one more run makes everything good."""
    examples = int(os.environ.get("RECAST_TEST_SCHEDULES", EXAMPLES))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=STEPS, deadline=None, derandomize=examples == EXAMPLES,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate], report_multiple_bugs=False,
        ),
    )  # fmt: skip
