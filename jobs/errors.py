"""Whatever ends a command before its time: one sentence for a person, an exit status, and details in a log file."""

import os
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from recast import __version__
from recast.jobs import usage
from recast.jobs.exit_status import BAD_USAGE, FAILED
from recast.pipeline.reasons import words

KEPT_LOGS = 50
"""Log files that stay; a job on a schedule may fail every minute."""


def ending(fault: BaseException, command: Sequence[str]) -> tuple[str, int]:
    """The sentence and the exit status that a command ends with.

    Exceptions that speak to users carry both: their message, and an attribute `exit_status`. All others are faults that
    nobody foresaw, whose traceback goes into a log file that the sentence names; so do the `details` of those that have
    such an attribute.
    """
    fault = origin(fault)
    if (refusal := usage.refusal(fault, command)) is not None:
        return f"error: {refusal}", BAD_USAGE
    status = getattr(fault, "exit_status", None)
    if isinstance(status, int) and str(fault).strip():
        told = f"; {_details(fault, command)}" if getattr(fault, "details", "") else ""
        return f"error: {fault}{told}", status
    return f"error: {words(fault)}; {_details(fault, command)}", status if isinstance(status, int) else FAILED


def origin(fault: BaseException) -> BaseException:
    """What was raised where the work was done: Ray wraps what comes from its workers, and Ray Data once more."""
    seen: set[int] = set()
    while id(fault) not in seen:
        seen.add(id(fault))
        names = {kind.__name__ for kind in type(fault).__mro__ if kind.__module__.startswith("ray.")}
        inner = getattr(fault, "cause", None) if "RayTaskError" in names else None
        if inner is None and names:
            inner = next(iter((getattr(fault, "worker_failures", None) or {}).values()), None) or fault.__cause__
        if not isinstance(inner, BaseException):
            return fault
        fault = inner
    return fault


def _details(fault: BaseException, command: Sequence[str]) -> str:
    """Write the traceback down, for the user's eyes alone; say where, or why it can't be."""
    trace = getattr(fault, "details", "") or "".join(traceback.format_exception(fault))
    said = f"recast {__version__}, {' '.join(command[:2])}\n\n{trace}"
    for folder in _folders():
        try:
            return f"the details are in {_written(folder, said)}"
        except OSError:
            continue
    return "the details could not be written down, neither to the log folder nor to a temporary one"


def _folders() -> list[Path]:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return [Path(os.path.expanduser(state)) / "recast", Path(tempfile.gettempdir())]


def _written(folder: Path, said: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(".log", f"recast-{time.strftime('%Y%m%dT%H%M%S')}-", folder)
    with open(descriptor, "w", errors="backslashreplace") as file:
        file.write(said)
    mine = sorted(path for path in folder.glob("recast-*T*-*.log") if path.stat().st_uid == os.getuid())
    for old in mine[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)
    return Path(name)
