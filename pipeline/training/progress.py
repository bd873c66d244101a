"""How far a training has come: workers tell one actor, and whoever watches the run is told by the driver."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import ray

from recast.pipeline import events
from recast.pipeline.progress import Progress
from recast.pipeline.training.health import HealthWarning

POLL_EVERY_S = 0.5


class ProgressActor:
    """The one place (an actor) that knows how far a training has come; it outlives lost workers."""

    def __init__(self, step: int = 0) -> None:
        self._facts: dict[str, Any] = {"step": step, "seconds": 0.0, "scalars": {}, "unreadable": [], "warnings": []}
        self._facts |= {"problem": "", "fault": "", "final": "", "room": ""}

    def tell(self, facts: dict[str, Any]) -> None:
        self._facts |= facts

    def warn(self, warning: HealthWarning) -> None:
        """Keep the first of each kind; a replaced worker may see it again."""
        if warning.kind not in {known.kind for known in self._facts["warnings"]}:
            self._facts["warnings"].append(warning)

    def facts(self) -> dict[str, Any]:
        return self._facts


@contextlib.contextmanager
def followed(actor: Any, progress: Progress, output: str) -> Iterator[None]:
    """Tell `progress` what the actor knows while the block runs."""
    done = threading.Event()
    follower = threading.Thread(target=_follow, args=(actor, progress, output, done), daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()


def _follow(actor: Any, progress: Progress, output: str, done: threading.Event) -> None:
    log = events.driver_log(output=output)
    warned, room = 0, ""
    while not done.wait(POLL_EVERY_S):
        with contextlib.suppress(ray.exceptions.RayError):
            facts = ray.get(actor.facts.remote(), timeout=5)
            if facts["room"] and facts["room"] != room:
                progress.says(facts["room"])
            room = facts["room"]
            progress.reached(facts["step"], facts["scalars"])
            for warning in facts["warnings"][warned:]:
                if events.wanted():
                    log.warning("trouble", kind=warning.kind, step=warning.step, sentence=warning.sentence)
                else:
                    progress.says(f"warning: step {warning.step:,}: {warning.sentence}")
            warned = len(facts["warnings"])
