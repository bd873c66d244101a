"""Whether a process that somebody named is gone, where this process can tell."""

import contextlib
import os


def born() -> str:
    """When and where this process started: the boot, the pid namespace, and clock ticks since that boot.

    Empty where the system doesn't tell.
    """
    place = _place()
    return f"{place}+{_started('self')}" if place and _started("self") else ""


def is_gone(pid: int, born: str) -> bool:
    """Whether the process is dead for sure. Of one of another boot or another pid namespace, whatever the host's name,
    nothing is known here: its numbers mean other processes."""
    place, _, ticks = born.rpartition("+")
    if not (ticks and place) or place != _place() or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # it is there, and another user's
    started = _started(str(pid))
    return started is not None and started != ticks


def _place() -> str:
    """This boot and this pid namespace; empty unless /proc shows both, and as this process sees them."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # the /proc of another namespace numbers others
            return ""
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()}+{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _started(pid: str) -> str | None:
    """Clock ticks from boot to a process's start; empty for one that has ended and waits for its parent to notice;
    None where it isn't shown."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        facts = stat.read().rpartition(")")[2].split()
        return "" if facts[0] in "ZX" else facts[19]
    return None
