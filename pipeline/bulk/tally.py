"""What a run has done so far: counted in the workers, gathered in one place for the live view and the manifest."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

STAGES = ("fetch", "decode", "generate", "encode", "write")
STATUSES = ("ok", "failed", "held")
SEND_EVERY_S = 0.5


class Tally:
    """A worker's counts, shared by its threads, and sent on now and then so that people see progress."""

    def __init__(self, send: Callable[[dict[str, int]], object] | None = None) -> None:
        self._passed_on = send
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._untried_because = ""
        self._run_fault = ""
        self._mistake = ("", "")
        self._sent_at, self._unsent = 0.0, Counter[str]()

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage's seconds."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                spent = {f"{stage}_us": int((time.perf_counter() - start) * 1e6)}
                self._counts.update(spent)
                self._unsent.update(spent)

    def settled(self, status: str, failure: str = "") -> None:
        """One input more ended so, by a failure of this kind where it did."""
        with self._lock:
            self._failures.update([failure] if failure else [])
        self._add({status: 1})

    def count(self, *, untried_because: str = "", run_fault: str = "", **counts: int) -> None:
        with self._lock:
            self._untried_because = untried_because or self._untried_because
            self._run_fault = run_fault or self._run_fault
        self._add(counts)

    def mistake(self, sentence: str, details: str) -> None:
        """An input was left untried by a mistake of our own; of several the first is told of."""
        with self._lock:
            self._mistake = self._mistake if self._mistake[0] else (sentence, details)
        self._add({"mistakes": 1})

    def _add(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self._counts.update(counts)
            self._unsent.update(counts)
            due = self._passed_on is not None and time.monotonic() - self._sent_at > SEND_EVERY_S
        if due:
            self._send()

    def _send(self) -> None:
        with self._lock:
            unsent, self._unsent = self._unsent, Counter()
            self._sent_at = time.monotonic()
        if unsent and self._passed_on is not None:
            self._passed_on(dict(unsent))

    def report(self) -> dict[str, Any]:
        """The counts since the last report, as one flat row."""
        self._send()
        with self._lock:
            names = (
                *STATUSES,
                "untried",
                "mistakes",
                "shards",
                "bytes_read",
                "bytes_written",
                *(f"{s}_us" for s in STAGES),
            )
            row: dict[str, Any] = {name: self._counts[name] for name in names}
            row["failures"] = [{"kind": k, "n": n} for k, n in sorted(self._failures.items())]
            row["untried_because"], row["run_fault"] = self._untried_because, self._run_fault
            row["mistake"], row["mistake_details"] = self._mistake
            self._counts.clear()
            self._failures.clear()
            self._untried_because = self._run_fault = ""
            self._mistake = ("", "")
        return row


class Collector:
    """The one place (an actor, when Ray runs) that knows how far all workers together have come."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, counts: dict[str, int]) -> None:
        self._counts.update(counts)

    def counts(self) -> dict[str, int]:
        return dict(self._counts)
