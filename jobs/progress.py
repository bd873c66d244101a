"""The live view of a bulk run on a terminal, and its plain-line form for logs."""

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from recast.pipeline import events

LINE_EVERY_S = 10.0


class BulkProgress:
    """Draws a bar with rate and time left on a terminal; elsewhere writes a line now and then. All on stderr."""

    def __init__(self, title: str, output: str) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=events.wanted() or not self._console.is_terminal,
            transient=True,
        )
        self._log = events.driver_log(job=title, output=output)
        self._title, self._total, self._settled = title, 0, 0
        self._task = self._bar.add_task(f"{title}: listing", total=None, rate="")
        self._began, self._line_at = time.monotonic(), time.monotonic()

    def planned(self, inputs: int, settled: int) -> None:
        self._total, self._settled = inputs - settled, settled
        self._began = time.monotonic()
        line = f"{self._title}: {inputs:,} inputs, {settled:,} settled before, {self._total:,} to do"
        self._event("planned", line, inputs=inputs, settled_before=settled)
        self._bar.update(self._task, description=f"{self._title}: starting", total=self._total)

    def counts(self, ok: int, failed: int) -> None:
        done = min(ok + failed, self._total)
        if not done:
            return
        rate = f"{done / (time.monotonic() - self._began):.1f} images/s, {failed} failed"
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
            print(line, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(line)

    def __enter__(self) -> "BulkProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
