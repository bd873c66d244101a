"""How a command ends when it is told to: by Ctrl-C, or by SIGTERM before whoever sent it loses patience."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from recast.jobs.exit_status import INTERRUPTED, TERMINATED
from recast.pipeline import events

GRACE_S = 2.5
"""After SIGTERM a command that is not done with tidying up ends all the same: Ray's job server kills after 3 s."""
GRACE_OF = {"schedule run": 10.0}
"""It waits for a job that has GRACE_S itself."""
SAME_AGAIN = "finished work is kept; run the same command again to resume"
AFTERWARDS = {
    **dict.fromkeys(("translate", "upscale", "deidentify", "restore", "annotate", "train"), SAME_AGAIN),
    "demo": "the same command begins the demo anew",
    "index compact": "the output is whole; run the same command again to resume",
    "schedule run": "the job was told to end, too; its finished work is kept, and the next run resumes from there",
}
"""What is true after each command that was cut short; of all others nothing needs to be said."""
_true_now: list[str] = []
"""What the command itself has last said to be true if it were cut short now."""
_came: list[int] = []
"""The signals that this process's command was told to end by, in their order."""


class Terminated(KeyboardInterrupt):
    """SIGTERM; whatever tidies up after Ctrl-C does so after it."""


def sentence(fault: BaseException, command: Sequence[str]) -> tuple[str, int]:
    """What is said after Ctrl-C or SIGTERM, and the exit status."""
    terminated = isinstance(fault, Terminated) or _came[:1] == [signal.SIGTERM]  # Ray raises others in their place
    what = "ended by SIGTERM" if terminated else "interrupted"
    after = next(iter(_true_now), "") or AFTERWARDS.get(" ".join(command[:2])) or AFTERWARDS.get(" ".join(command[:1]))
    return f"{what}; {after}" if after else what, TERMINATED if terminated else INTERRUPTED


def listen(command: Sequence[str]) -> None:
    """Have SIGTERM and Ctrl-C end this process's command in an orderly way: SIGTERM within a time of grace, or else at
    once, and a second Ctrl-C at once.
    """
    _came.clear()
    _true_now.clear()
    terminal = os.dup(2)  # standard error as it is now; it may be closed while Ray starts

    def at_once() -> None:
        said, status = sentence(_fault(_came[0]), command)
        with contextlib.suppress(Exception):
            os.dup2(terminal, 2)
            events.say(said, status=status)
            sys.stdout.flush()
        os._exit(status)

    def end(number: int, _frame: FrameType | None) -> None:
        signal.alarm(0)  # Ray's own handler, where it comes first, sets one that aborts with a core
        _came.append(number)
        if number == signal.SIGTERM and _came.count(number) == 1:
            _after(GRACE_OF.get(" ".join(command[:2]), GRACE_S), at_once)
        if len(_came) == 1:
            raise _fault(number)
        if number == signal.SIGINT:
            at_once()

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, end)


def afterwards(sentence: str) -> None:
    """From now on this is true once the command was cut short, in place of what `AFTERWARDS` has for it."""
    _true_now[:] = [sentence]


def told_to_end() -> bool:
    """Whether a signal told this process's command to end; what it raises afterwards, as it tidies up, is no news."""
    return bool(_came)


def _fault(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def _after(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
