"""The live view of a training run on a terminal, and its plain-line form for logs."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from recast.jobs.progress import Drawn, TimeLeft
from recast.pipeline import events
from recast.pipeline.training.health import WAITING
from recast.pipeline.wording import pace

PACE = ("lr", "images_per_s", WAITING)
LINE_EVERY_S = 15.0
"""Where there is no terminal to draw on."""


class TrainingProgress(Drawn):
    """Draws steps, losses, images per second and the time left; elsewhere writes a line now and then. All on stderr."""

    def __init__(self, output: str) -> None:
        self._console = Console(stderr=True, highlight=False, quiet=events.wanted())
        self._bar = Progress(
            TextColumn("training", table_column=Column(no_wrap=True, min_width=8)),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}", table_column=Column(no_wrap=True, ratio=1)),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
        )
        self._log = events.driver_log(output=output)
        self._task = self._bar.add_task("training", total=None, words="starting workers")
        self._steps, self._line_at, self._left = 0, time.monotonic(), TimeLeft(0)

    def planned(self, total: int, done: int) -> None:
        self._steps, self._left = total, TimeLeft(total, done)
        self._bar.update(self._task, total=total, completed=done)

    def reached(self, done: int, facts: Mapping[str, float]) -> None:
        words = _words(facts, self._left.reached(done))
        self._bar.update(self._task, completed=done, words=words)
        if self._bar.disable and time.monotonic() - self._line_at > LINE_EVERY_S:
            self._line_at = time.monotonic()
            self._log.info("progress", step=done, steps=self._steps, **facts)
            line = f"training: {done:,} of {self._steps:,} steps, {words}"
            self._console.print(events.printable(line), markup=False, soft_wrap=True)

    def says(self, sentence: str) -> None:
        if events.wanted():
            self._log.info("said", sentence=sentence)
        self._console.print(events.printable(sentence), markup=False, soft_wrap=True)


def _words(scalars: Mapping[str, float], left: str) -> str:
    if "images_per_s" not in scalars:
        return "starting workers"
    losses = "  ".join(f"{name} {value:.3g}" for name, value in scalars.items() if name not in PACE)
    return f"{left}{', ' if left else ''}{pace(scalars['images_per_s'])}  {losses}"
