"""Who keeps schedules on this machine, the user's crontab or systemd; each takes one whole or not at all."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from recast.jobs.schedules.environment import code
from recast.jobs.schedules.render import units
from recast.jobs.schedules.schedule import Schedule, ScheduleError

Keeper = Literal["crontab", "systemd"]
PROGRAMS: Mapping[Keeper, str] = {"crontab": "crontab", "systemd": "systemctl"}
MARK = "# recast schedule "
EMPTY = re.compile(r"^(crontab: )?no crontab for \S+", re.MULTILINE | re.IGNORECASE)
"""What every crontab(1) says for a user who has none."""


def _configuration() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser()


def keep(schedule: Schedule, keeper: Keeper, home: Path) -> None:
    """Have a schedule kept. Raises ScheduleError, and leaves all as it was, where the keeper refuses."""
    if keeper == "systemd":
        _install_units(schedule, home)
        return
    variables = {"RECAST_SCHEDULES": str(home), "PYTHONPATH": code()}
    fire = [sys.executable, "-m", "recast", "schedule", "run", "--quiet", schedule.name]
    line = [*(f"{name}={_quoted(value)}" for name, value in variables.items()), *map(_quoted, fire)]
    lines = [line for line in _crontab() if not line.endswith(MARK + schedule.name)]
    _write_crontab([*lines, f"{schedule.times.text} {' '.join(line)} {MARK}{schedule.name}"])


def holding(name: str) -> list[Keeper]:
    """Who still holds something of a schedule."""
    found: list[Keeper] = []
    if shutil.which("crontab") is not None and any(line.endswith(MARK + name) for line in _crontab()):
        found.append("crontab")
    if any((_units() / f"recast-{name}.{ending}").exists() for ending in ("service", "timer")):
        found.append("systemd")
    return found


def let_go(name: str, keeper: Keeper) -> None:
    """Have a schedule kept no more; fine where it isn't. Raises ScheduleError where the keeper refuses."""
    if keeper == "crontab":
        lines = _crontab()
        left = [line for line in lines if not line.endswith(MARK + name)]
        if left != lines:
            _write_crontab(left)
        return
    units = [_units() / f"recast-{name}.{ending}" for ending in ("timer", "service")]
    if units[0].exists() and shutil.which("systemctl") is not None:
        _systemctl("disable", "--now", units[0].name)
    for unit in units:
        unit.unlink(missing_ok=True)


def put(path: Path, text: str) -> None:
    """Write a file for the user's eyes alone, whole or not at all."""
    part = path.with_suffix(f"{path.suffix}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def _crontab() -> list[str]:
    """This user's crontab. Raises ScheduleError where it can't be read: what isn't known is not written anew."""
    done = _called("crontab", "-l")
    if done.returncode == 0:
        return done.stdout.splitlines()
    if EMPTY.search(done.stderr) and not done.stdout.strip():
        return []
    said = done.stderr.strip() or f"it ended with status {done.returncode}"
    raise ScheduleError(f"this user's crontab can't be read, so nothing is written to it: {said}")


def _write_crontab(lines: Sequence[str]) -> None:
    done = _called("crontab", "-", text="".join(f"{line}\n" for line in lines))
    if done.returncode:
        raise ScheduleError(f"crontab rejected the entry: {done.stderr.strip()}")


def _units() -> Path:
    return _configuration() / "systemd/user"


def _install_units(schedule: Schedule, home: Path) -> None:
    """Two files for systemd. Where it doesn't take them they are as they were."""
    _units().mkdir(parents=True, exist_ok=True)
    fired = Schedule(name=schedule.name, cron=schedule.cron, command=("schedule", "run", schedule.name))
    program = (sys.executable, "-m", "recast")
    variables = {"RECAST_SCHEDULES": str(home), "PYTHONPATH": code()}
    files = {_units() / name: text for name, text in units(fired, program, variables).items()}
    before = {path: path.read_text() if path.exists() else None for path in files}
    try:
        for path, text in files.items():
            put(path, text)
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", f"recast-{schedule.name}.timer")
    except BaseException:
        for path, earlier in before.items():
            path.unlink(missing_ok=True) if earlier is None else put(path, earlier)
        raise


def _systemctl(*arguments: str) -> None:
    done = _called("systemctl", "--user", *arguments)
    if done.returncode:
        raise ScheduleError(f"systemctl --user {' '.join(arguments)} failed: {done.stderr.strip()}")


def require(keeper: Keeper) -> None:
    """Raises ScheduleError where a keeper is not on this machine."""
    program = PROGRAMS[keeper]
    if shutil.which(program) is None:
        raise ScheduleError(
            f"there is no {program} on this machine; install one (Debian and Ubuntu: apt install cron), give --keeper "
            f"{'systemd' if keeper == 'crontab' else 'crontab'}, or let `recast schedule render` write files for others"
        )


def _called(program: str, *arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, errors="surrogateescape",
        env={**os.environ, "LC_ALL": "C"}, check=False,
    )  # fmt: skip


def _quoted(text: str) -> str:
    """For a crontab's line: in its shell's quotes, % masked, which cron would take for the end of the line."""
    if "\n" in text or "\0" in text:
        raise ScheduleError(f"{text!r} has a line break in it, which a crontab can't hold")
    return shlex.quote(text).replace("%", "\\%")
