"""The live view of a training: workers tell how far they are, the driver shows it on stderr."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from recast.pipeline import events
from recast.pipeline.training.trouble import WAITING, Trouble

POLL_EVERY_S = 0.5
PACE = ("lr", "images_per_s", WAITING)
SPEED_OVER_S = 600.0
"""What the time left is reckoned from; steps come in bursts, as they are logged."""
LINE_EVERY_S = 15.0
"""Where there is no terminal to draw on."""


class Watch:
    """The one place (an actor) that knows how far a training has come; it outlives lost workers."""

    def __init__(self, step: int = 0) -> None:
        self._facts: dict[str, Any] = {"step": step, "seconds": 0.0, "scalars": {}, "unreadable": [], "warnings": []}
        self._facts |= {"problem": "", "fault": "", "final": "", "room": ""}

    def tell(self, facts: dict[str, Any]) -> None:
        self._facts |= facts

    def warn(self, trouble: Trouble) -> None:
        """Keep the first of each kind; a replaced worker may see it again."""
        if trouble.kind not in {known.kind for known in self._facts["warnings"]}:
            self._facts["warnings"].append(trouble)

    def facts(self) -> dict[str, Any]:
        return self._facts


@contextlib.contextmanager
def shown(watch: Any, output: str, way: tuple[int, int], quiet: bool) -> Iterator[None]:
    """Show progress while the block runs: steps, losses, images per second, time left.

    Args:
        way: the steps that were done at the start, and those that will be done at the end.
    """
    done = threading.Event()
    viewer = threading.Thread(target=_follow, args=(watch, output, way, done), daemon=True)
    if not quiet:
        viewer.start()
    try:
        yield
    finally:
        done.set()
        if not quiet:
            viewer.join()


def _follow(watch: Any, output: str, way: tuple[int, int], done: threading.Event) -> None:
    begun, steps = way
    console = Console(stderr=True, highlight=False, quiet=events.wanted())
    log = events.driver_log(output=output)
    columns = (
        TextColumn("training", table_column=Column(no_wrap=True, min_width=8)),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}", table_column=Column(no_wrap=True, ratio=1)),
    )
    looks: Any = {"disable": not console.is_terminal, "expand": True, "speed_estimate_period": SPEED_OVER_S}
    with Progress(*columns, console=console, **looks) as progress:
        task = progress.add_task("training", total=steps, completed=begun, words="starting workers")
        line_at, warned = time.monotonic(), 0
        while not done.wait(POLL_EVERY_S):
            with contextlib.suppress(ray.exceptions.RayError):
                facts = ray.get(watch.facts.remote(), timeout=5)
                words = facts["room"] or _words(facts["scalars"])
                progress.update(task, completed=facts["step"], words=words)
                for trouble in facts["warnings"][warned:]:
                    log.warning("trouble", kind=trouble.kind, step=trouble.step, sentence=trouble.sentence)
                    console.print(f"warning: step {trouble.step:,}: {trouble.sentence}", markup=False)
                warned = len(facts["warnings"])
                if progress.disable and time.monotonic() - line_at > LINE_EVERY_S:
                    line_at = time.monotonic()
                    log.info("progress", step=facts["step"], steps=steps, **facts["scalars"])
                    line = f"training: {facts['step']:,} of {steps:,} steps, {words}"
                    console.print(line, markup=False, soft_wrap=True)


def _words(scalars: dict[str, float]) -> str:
    if not scalars:
        return "starting workers"
    losses = "  ".join(f"{name} {value:.3g}" for name, value in scalars.items() if name not in PACE)
    return f"{scalars['images_per_s']:.1f} images/s  {losses}"
