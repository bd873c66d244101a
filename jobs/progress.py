"""The live view of a bulk run on a terminal, and its plain-line form for logs."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from recast.pipeline import events
from recast.pipeline.reasons import plural
from recast.pipeline.wording import pace

LINE_EVERY_S = 10.0
PATIENCE_S = 60.0
"""From which on a rough estimate is better than none."""


def span(seconds: float) -> str:
    """A time in the two units that matter."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{hours} h" if hours < 72 else f"{round(seconds / 86400)} days"


class TimeLeft:
    """How long the rest of a run takes, by its pace so far.

    What comes in bursts, as the steps of a training do, is timed from burst to burst, so that the start of workers does
    not count; a first one that takes a minute is timed from the start of the run.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total, self._began = total, (time.monotonic(), done)
        self._first = self._last = self._began

    def reached(self, done: int) -> str:
        """`12 min left`; "" as long as nothing is known."""
        now = time.monotonic()
        if done > self._last[1]:
            self._first = (now, done) if self._first is self._began else self._first
            self._last = (now, done)
        (since, before), (at, after) = self._began if self._first == self._last else self._first, self._last
        if after == before or (self._first == self._last and at - since < PATIENCE_S):
            return ""
        left = (self._total - after) * (at - since) / (after - before) - (now - at)
        return f"{span(max(0.0, left))} left"


class Drawn:
    """What is drawn while the block runs that it is used for."""

    _bar: Progress

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class BulkProgress(Drawn):
    """Draws a bar with rate and time left on a terminal; elsewhere writes a line now and then. All on stderr."""

    def __init__(self, title: str, output: str) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            disable=events.wanted() or not self._console.is_terminal,
            transient=True,
        )
        self._log = events.driver_log(job=title, output=output)
        self._title, self._total = title, 0
        self._task = self._bar.add_task(f"{title}: listing", total=None, rate="")
        self._began, self._line_at, self._left = time.monotonic(), time.monotonic(), TimeLeft(0)

    def planned(self, total: int, done: int) -> None:
        self._total = total - done
        self._began, self._left = time.monotonic(), TimeLeft(self._total)
        before = f", {done:,} of them done before" if done else ""
        line = f"{self._title}: {plural(total, 'input')}{before}, {self._total:,} to do"
        self._event("planned", line, inputs=total, settled_before=done)
        self._bar.update(self._task, description=f"{self._title}: starting", total=self._total)

    def reached(self, done: int, facts: Mapping[str, float]) -> None:
        done, failed = min(done, self._total), int(facts.get("failed", 0))
        if not done:
            return
        took = max(time.monotonic() - self._began, 1e-3)
        left = self._left.reached(done)
        rate = f"{pace(done / took)}, {failed:,} failed{', ' if left else ''}{left}"
        self._bar.update(self._task, description=self._title, completed=done, rate=rate)
        if self._bar.disable and time.monotonic() - self._line_at > LINE_EVERY_S:
            self._line_at = time.monotonic()
            line = f"{self._title}: {done:,} of {self._total:,}, {rate}"
            self._event("progress", line, done=done, planned=self._total, failed=failed)

    def says(self, sentence: str) -> None:
        self._event("said", sentence, sentence=sentence)

    def _event(self, event: str, line: str, **fields: Any) -> None:
        """The same for people as a line, for machines as an event."""
        if events.wanted():
            self._log.info(event, **fields)
        elif self._bar.disable:
            print(events.printable(line), file=sys.stderr, flush=True)
        else:
            self._bar.console.print(events.printable(line), markup=False)
