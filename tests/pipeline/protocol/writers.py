"""Writers that take turns: each is a process of its own that stands still before every call until it is let go on."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.pipeline.protocol.store import Bucket, Crash, Process

MOST_STEPS = 5000


@dataclass(slots=True, eq=False)
class Fiber:
    """A thread that runs only while somebody waits for it."""

    process: Process
    work: Callable[[], Any]
    next: str = "BEGIN"
    """What it will do when it is let go on."""
    ready: Callable[[], bool] = lambda: True
    ended: bool = False
    fault: BaseException | None = None
    _turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def begin(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()
        self._back.acquire()

    def _run(self) -> None:
        _FIBER.fiber = self
        try:
            with self.process:
                self.stand("BEGIN", lambda: True)
                self.work()
        except BaseException as fault:
            self.fault = fault
        finally:
            self.ended = True
            self._back.release()

    def stand(self, what: str, ready: Callable[[], bool]) -> None:
        """Called by the thread itself: wait for its turn."""
        self.next, self.ready = what, ready
        self._back.release()
        self._turn.acquire()
        if self.process.dead:
            raise Crash(self.process.name)

    def step(self) -> None:
        """Called by others: let it go on to its next call."""
        self._turn.release()
        self._back.acquire()


_FIBER = threading.local()


class Writer:
    """A command in a process of its own, that goes on step by step."""

    def __init__(self, name: str, bucket: Bucket, work: Callable[[], Any], *, skew_s: float = 0.0) -> None:
        self.process = Process(name, bucket, skew_s=skew_s, gate=self._gate, spawn=self._spawn)
        self.main = Fiber(self.process, work)
        self.others: list[Fiber] = []
        self.main.begin()

    @property
    def alive(self) -> bool:
        return not self.main.ended

    @property
    def fault(self) -> BaseException | None:
        return self.main.fault

    def step(self, count: int = 1) -> None:
        """So many calls of its main thread, or fewer where it has to wait or ends."""
        for _ in range(count):
            if self.alive and self._helped(self.main):
                self.main.step()

    def until(self, what: str) -> None:
        """Go on until its next call is one that begins so (`PUT b/out/index`)."""
        for _ in range(MOST_STEPS):
            if not self.alive or self.main.next.startswith(what):
                return
            self._patiently(self.main)
        raise AssertionError(f"{self.process.name} never comes to {what}")

    def finish(self) -> None:
        """Go on to the end; where it waits, time passes, and its renewals are made in time."""
        self.until("THE END")

    def renew(self, count: int = MOST_STEPS) -> None:
        """Calls of its other threads, as far as they need not wait."""
        for fiber in self.others:
            for _ in range(count):
                if not fiber.ended and fiber.ready():
                    fiber.step()

    def kill(self) -> None:
        """SIGKILL: no call of it gets through any more."""
        self.process.dead = True
        for fiber in (*self.others, self.main):
            while not fiber.ended:
                fiber.step()

    def _patiently(self, fiber: Fiber) -> None:
        if self._helped(fiber):
            fiber.step()
        else:
            self.process.bucket.now_s += 1.0
            self.renew()

    def _helped(self, fiber: Fiber) -> bool:
        """Whether it can go on, if need be after the process's other threads have."""
        if not fiber.ready() and fiber.next in ("JOIN", "LOCK"):
            self.renew()
        return fiber.ready()

    def _gate(self, what: str, ready: Callable[[], bool]) -> None:
        _FIBER.fiber.stand(what, ready)

    def _spawn(self, work: Callable[[], None]) -> Callable[[], bool]:
        fiber = Fiber(self.process, work)
        self.others.append(fiber)
        fiber.begin()
        return lambda: fiber.ended
