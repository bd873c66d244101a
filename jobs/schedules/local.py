"""Schedules on this machine: kept in crontab or by systemd, and what became of each run."""

import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from recast.jobs.schedules.render import Place, systemd
from recast.jobs.schedules.schedule import Schedule, ScheduleError

Keeper = Literal["crontab", "systemd"]
MARK = "# recast schedule "
KEPT_VARIABLES = ("PATH", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_API_SERVER_ADDRESS", "TMPDIR")
"""Of the environment at installation, what runs get, beside the names that begin so:"""
KEPT_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_", "FSSPEC_")
SECRET_WORDS = ("SECRET", "PASSWORD", "SESSION_TOKEN", "ACCOUNT_KEY")
"""Variables with these in their names are not written down: credentials come from their own files."""


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """How the last run of a schedule went."""

    started_at: str
    finished_at: str
    status: int
    said: str
    """Its last line."""

    @property
    def outcome(self) -> str:
        return {0: "done", 3: "done, too many inputs failed", 130: "interrupted"}.get(self.status, "failed")


def home() -> Path:
    """Where schedules are written down: `RECAST_SCHEDULES`, or a folder of the user's configuration."""
    place = os.environ.get("RECAST_SCHEDULES")
    return (
        Path(place) if place else Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / "recast/schedules"
    )


def _configuration() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser()


def install(schedule: Schedule, keeper: Keeper) -> str:
    """Write a schedule down and have it kept; one of the same name is replaced. Returns where its log goes.

    Raises:
        ScheduleError: there is no crontab or systemctl here, or it refuses.
    """
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    kept = {k: v for k, v in os.environ.items() if _is_kept(k)}
    facts = {**asdict(schedule), "keeper": keeper, "environment": kept, "folder": os.getcwd()}
    (folder / f"{schedule.name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    if keeper == "crontab":
        lines = [line for line in _crontab() if not line.endswith(MARK + schedule.name)]
        fire = f"{_quoted(sys.executable)} -m recast schedule run {schedule.name}"
        root = _quoted(str(Path(__file__).parents[2]))
        variables = f"RECAST_SCHEDULES={_quoted(str(folder))} PYTHONPATH={root}"
        _write_crontab([*lines, f"{schedule.times.text} {variables} {fire} {MARK}{schedule.name}"])
    else:
        _install_units(schedule)
    return str(folder / f"{schedule.name}.log")


def remove(name: str) -> None:
    """Let a schedule be kept no more. What it made stays. Raises ScheduleError if there is none of that name."""
    schedule, facts = read(name)
    if facts["keeper"] == "crontab":
        _write_crontab([line for line in _crontab() if not line.endswith(MARK + schedule.name)])
    else:
        _systemctl("disable", "--now", f"recast-{name}.timer")
        for ending in ("service", "timer"):
            (_units() / f"recast-{name}.{ending}").unlink(missing_ok=True)
    for ending in ("json", "last.json", "prom"):
        (home() / f"{name}.{ending}").unlink(missing_ok=True)


def read(name: str) -> tuple[Schedule, dict[str, object]]:
    """A schedule as it was written down. Raises ScheduleError if there is none of that name."""
    try:
        facts = json.loads((home() / f"{name}.json").read_text())
        command = tuple(facts["command"])
        return Schedule(name=facts["name"], cron=facts["cron"], command=command), facts
    except FileNotFoundError:
        known = ", ".join(names()) or "none"
        raise ScheduleError(f"there is no schedule {name!r} here; there is {known}") from None


def names() -> list[str]:
    return sorted(path.stem for path in home().glob("*.json") if not path.name.endswith(".last.json"))


def last_run(name: str) -> LastRun | None:
    try:
        return LastRun(**json.loads((home() / f"{name}.last.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def run(name: str) -> int:
    """Run a schedule's job now, as cron does: its log is appended to, and how it went is written down.

    A run that the output's lease keeps out, for another one is still at work, has failed: it says so.
    """
    schedule, facts = read(name)
    environment = {**os.environ, **facts["environment"]}  # type: ignore[dict-item]
    began = _now()
    with (home() / f"{name}.log").open("a") as log:
        print(f"--- {began} {schedule.shell}", file=log, flush=True)
        command = [sys.executable, "-m", "recast", *schedule.command]
        where = str(facts["folder"]) if Path(str(facts["folder"])).is_dir() else None
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=where
        )
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            log.flush()
            said = line.strip() or said
        status = process.wait()
    result = LastRun(started_at=began, finished_at=_now(), status=status, said=said[:400])
    _put(home() / f"{name}.last.json", json.dumps(asdict(result), indent=2) + "\n")
    _put(home() / f"{name}.prom", metrics(name, result, _before(name, result)))
    return status


def metrics(name: str, run: LastRun, last_success: float) -> str:
    """For node_exporter's textfile collector: how a schedule's last run went, and when one last succeeded."""
    label = f'{{schedule="{name}"}}'
    ended = datetime.datetime.fromisoformat(run.finished_at).timestamp()
    took = ended - datetime.datetime.fromisoformat(run.started_at).timestamp()
    rows = (
        ("recast_schedule_last_run_timestamp_seconds", "When the last run ended", ended),
        ("recast_schedule_last_success_timestamp_seconds", "When a run last ended with status 0", last_success),
        ("recast_schedule_last_run_status", "Exit status of the last run", float(run.status)),
        ("recast_schedule_last_run_seconds", "How long the last run took", took),
    )
    return "".join(f"# HELP {n} {said}.\n# TYPE {n} gauge\n{n}{label} {value:.3f}\n" for n, said, value in rows)


def _before(name: str, run: LastRun) -> float:
    if run.status == 0:
        return datetime.datetime.fromisoformat(run.finished_at).timestamp()
    try:
        lines = (home() / f"{name}.prom").read_text().splitlines()
        return next(
            float(line.split()[-1])
            for line in lines
            if line.startswith("recast_schedule_last_success_timestamp_seconds{")
        )
    except (FileNotFoundError, StopIteration, ValueError):
        return 0.0


def _is_kept(name: str) -> bool:
    return (name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)) and not any(w in name for w in SECRET_WORDS)


def _put(path: Path, text: str) -> None:
    part = path.with_suffix(f"{path.suffix}.part")
    part.write_text(text)
    part.replace(path)


def _crontab() -> list[str]:
    done = _called("crontab", "-l")
    return done.stdout.splitlines() if done.returncode == 0 else []


def _write_crontab(lines: Sequence[str]) -> None:
    done = _called("crontab", "-", text="".join(f"{line}\n" for line in lines))
    if done.returncode:
        raise ScheduleError(f"crontab refuses: {done.stderr.strip()}")


def _units() -> Path:
    return _configuration() / "systemd/user"


def _install_units(schedule: Schedule) -> None:
    _units().mkdir(parents=True, exist_ok=True)
    fired = Schedule(name=schedule.name, cron=schedule.cron, command=("schedule", "run", schedule.name))
    for name, text in systemd(fired, Place()).items():
        (_units() / name).write_text(text.replace("/usr/bin/env recast", f"{sys.executable} -m recast"))
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", f"recast-{schedule.name}.timer")


def _systemctl(*arguments: str) -> None:
    done = _called("systemctl", "--user", *arguments)
    if done.returncode:
        raise ScheduleError(f"systemctl --user {' '.join(arguments)} failed: {done.stderr.strip()}")


def _called(program: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    if shutil.which(program) is None:
        raise ScheduleError(
            f"there is no {program} on this machine; `recast schedule render` writes files for other keepers"
        )
    return subprocess.run([program, *arguments], input=text, capture_output=True, text=True, check=False)


def _quoted(text: str) -> str:
    """For a crontab's line: in its shell's quotes, % masked, which cron would take for the end of the line."""
    return "'" + text.replace("'", "'\\''").replace("%", "\\%") + "'"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
