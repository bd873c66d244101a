"""The live view of a training: workers tell how far they are, the driver shows it on stderr."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

POLL_EVERY_S = 0.5


class Watch:
    """The one place (an actor) that knows how far a training has come; it outlives lost workers."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {"step": 0, "seconds": 0.0, "scalars": {}, "problem": "", "fault": ""}

    def tell(self, facts: dict[str, Any]) -> None:
        self._facts |= facts

    def facts(self) -> dict[str, Any]:
        return self._facts


@contextlib.contextmanager
def shown(watch: Any, steps: int, quiet: bool) -> Iterator[None]:
    """Show progress while the block runs: steps, losses, images per second, time left."""
    done = threading.Event()
    viewer = threading.Thread(target=_follow, args=(watch, steps, done), daemon=True)
    if not quiet:
        viewer.start()
    try:
        yield
    finally:
        done.set()
        if not quiet:
            viewer.join()


def _follow(watch: Any, steps: int, done: threading.Event) -> None:
    columns = (
        TextColumn("training"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("training", total=steps, words="starting workers")
        while not done.wait(POLL_EVERY_S):
            with contextlib.suppress(ray.exceptions.RayError):
                facts = ray.get(watch.facts.remote(), timeout=5)
                progress.update(task, completed=facts["step"], words=_words(facts["scalars"]))


def _words(scalars: dict[str, float]) -> str:
    if not scalars:
        return "starting workers"
    losses = "  ".join(f"{name} {value:.3g}" for name, value in scalars.items() if name not in ("lr", "images_per_s"))
    return f"{scalars['images_per_s']:.1f} images/s  {losses}"
