"""How far a training has come: workers tell it in one place, and the driver tells whoever watches the run."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from recast.pipeline import events
from recast.pipeline.progress import Progress
from recast.pipeline.training.health import HealthWarning

POLL_EVERY_S = 0.5


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
