"""How far a training has come: workers tell it in one place, and the driver tells whoever watches the run."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from recast.pipeline import events
from recast.pipeline.progress import Progress
from recast.pipeline.training.health import HealthWarning

POLL_EVERY_S = 0.5
TOLD_EVERY_S = 10.0
"""How often slow steps are told of between those that are logged."""


class Watch(Protocol):
    """Where a worker says how far it has come, and what it met."""

    def tell(self, facts: dict[str, Any]) -> object: ...
    def warn(self, warning: HealthWarning) -> object: ...


class Teller:
    """What a worker says of itself; without a watch, as in all workers but the first, nobody hears it."""

    def __init__(self, watch: Watch | None, log: FilteringBoundLogger) -> None:
        self._watch, self._log = watch, log
        self._told_at, self._scalars = time.monotonic(), dict[str, float]()

    def tell(self, **facts: Any) -> None:
        self._told_at = time.monotonic()
        self._scalars = facts.get("scalars", self._scalars)
        if self._watch:
            self._watch.tell(facts)

    def between(self, step: int, images_per_s: float) -> None:
        """Tell between the steps that are logged how far slow ones have come: the time left is known early."""
        if time.monotonic() - self._told_at >= TOLD_EVERY_S:
            self.tell(step=step, scalars={**self._scalars, "images_per_s": images_per_s})

    def warn(self, kind: str, step: int, sentence: str) -> None:
        if self._watch:
            self._watch.warn(HealthWarning(kind, step, sentence))
            self._log.warning("trouble", kind=kind, step=step, sentence=sentence)


class TrainingFacts:
    """The one place that knows how far a training has come: on Ray an actor, which outlives lost workers."""

    def __init__(self, step: int = 0) -> None:
        self._facts: dict[str, Any] = {"step": step, "seconds": 0.0, "scalars": {}, "unreadable": [], "warnings": []}
        self._facts |= {"problem": "", "fault": "", "final": "", "waiting": "", "stopped": ""}

    def tell(self, facts: dict[str, Any]) -> None:
        self._facts |= facts

    def warn(self, warning: HealthWarning) -> None:
        """Keep the first of each kind; a replaced worker may see it again."""
        if warning.kind not in {known.kind for known in self._facts["warnings"]}:
            self._facts["warnings"].append(warning)

    def facts(self) -> dict[str, Any]:
        return self._facts


@contextlib.contextmanager
def followed(look: Callable[[], dict[str, Any] | None], progress: Progress, output: str) -> Iterator[None]:
    """Tell `progress` what `look` finds while the block runs; None: it could not be found out now."""
    done = threading.Event()
    follower = threading.Thread(target=_follow, args=(look, progress, output, done), daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()


def _follow(look: Callable[[], dict[str, Any] | None], progress: Progress, output: str, done: threading.Event) -> None:
    log = events.driver_log(output=output)
    warned, waiting = 0, ""
    while not done.wait(POLL_EVERY_S):
        facts = look()
        if facts is None:
            continue
        if facts["waiting"] and facts["waiting"] != waiting:
            progress.says(facts["waiting"])
        waiting = facts["waiting"]
        progress.reached(facts["step"], facts["scalars"])
        for warning in facts["warnings"][warned:]:
            if events.wanted():
                log.warning("trouble", kind=warning.kind, step=warning.step, sentence=warning.sentence)
            else:
                progress.says(f"warning: step {warning.step:,}: {warning.sentence}")
        warned = len(facts["warnings"])
