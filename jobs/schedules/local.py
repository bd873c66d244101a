"""Schedules on this machine: kept in crontab or by systemd, and what became of each run."""

import datetime
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from recast.jobs.next_steps import NEXT
from recast.jobs.schedules.environment import command, kept, lacking, try_as_cron_does
from recast.jobs.schedules.keepers import PROGRAMS, Keeper, holding, keep, let_go, put, require
from recast.jobs.schedules.schedule import Schedule, ScheduleError
from recast.pipeline import urls
from recast.pipeline.reasons import words

OUTCOMES = {0: "done", 3: "done, too many inputs failed", 130: "interrupted", 143: "ended by SIGTERM"}


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
        return OUTCOMES.get(self.status, "failed")


def home() -> Path:
    """Where schedules are written down: `RECAST_SCHEDULES`, or a folder of the user's configuration."""
    place = os.environ.get("RECAST_SCHEDULES")
    return (
        Path(place) if place else Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / "recast/schedules"
    )


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What came of an installation."""

    log: str
    """The file that the output of scheduled runs goes to."""
    warnings: tuple[str, ...] = ()
    """Sentences on what runs will lack."""


def install(
    schedule: Schedule, keeper: Keeper, *, replace: bool = False, check: bool = True, dry: bool = True
) -> Installed:
    """Write a schedule down and have it kept. Where anything fails all is as it was before.

    Args:
        replace: take the place of one of the same name.
        check: try the job in the environment that cron will give it.
        dry: the job has a dry run.

    Raises:
        ScheduleError: there is one of that name, the job can't run as cron would run it, or there is no crontab or
            systemctl here, or it refuses.
    """
    require(keeper)
    if schedule.name in names() and not replace:
        raise ScheduleError(
            f"there is a schedule {schedule.name!r} already; choose another --name, or give --replace to put this one "
            "in its place"
        )
    facts = {**asdict(schedule), "keeper": keeper, "environment": kept(), "folder": os.getcwd()}
    if check:
        try_as_cron_does(schedule, os.getcwd(), dry=dry)
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    written = folder / f"{schedule.name}.json"
    before = written.read_text() if written.exists() else None
    put(written, json.dumps(facts, indent=2) + "\n")
    try:
        keep(schedule, keeper, folder)
        if before is not None and (other := _keeper_of(before)) != keeper:
            let_go(schedule.name, other)
    except BaseException:
        if before is None:
            written.unlink(missing_ok=True)
        else:
            put(written, before)
        raise
    return Installed(log=str(folder / f"{schedule.name}.log"), warnings=lacking())


def _keeper_of(written: str) -> Keeper:
    try:
        return "systemd" if json.loads(written)["keeper"] == "systemd" else "crontab"
    except (ValueError, KeyError, TypeError):
        return "crontab"


def remove(name: str) -> None:
    """Let a schedule be kept no more, and what is left of one that was half removed. What it made stays.

    Raises:
        ScheduleError: there is nothing of that name, or its keeper refuses.
    """
    written = home() / f"{name}.json"
    if written.exists():
        keepers: list[Keeper] = [_keeper_of(written.read_text())]
    else:
        keepers = holding(name)
        if not keepers:
            raise _unknown(name)
    for keeper in keepers:
        if shutil.which(PROGRAMS[keeper]) is not None or keeper in holding(name):
            let_go(name, keeper)
    for ending in ("json", "last.json", "prom"):
        (home() / f"{name}.{ending}").unlink(missing_ok=True)


def read(name: str) -> tuple[Schedule, dict[str, object]]:
    """A schedule as it was written down. Raises ScheduleError if there is none of that name, or it can't be read."""
    written = home() / f"{name}.json"
    try:
        facts = json.loads(written.read_text())
        command = tuple(facts["command"])
        return Schedule(name=facts["name"], cron=facts["cron"], command=command), facts
    except FileNotFoundError:
        raise _unknown(name) from None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ScheduleError(f"{written} can't be read as a schedule: {words(fault)}") from fault


def _unknown(name: str) -> ScheduleError:
    return ScheduleError(f"there is no schedule {name!r} here; there is {', '.join(names()) or 'none'}")


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
    written = facts.get("environment")
    environment = {**os.environ, **(written if isinstance(written, dict) else {})}
    began = _now()
    where = str(facts.get("folder", ""))
    with (home() / f"{name}.log").open("a", errors="backslashreplace") as log:
        print(urls.without_secrets(f"--- {began} {schedule.shell}"), file=log, flush=True)
        process = subprocess.Popen(
            command(schedule), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="backslashreplace", env=environment, cwd=where if Path(where).is_dir() else None,
        )  # fmt: skip
        said, ended = [""], None
        try:
            _copy(process, log, said)
        except KeyboardInterrupt as fault:  # SIGTERM, too: the job's own way to end is as orderly
            ended = fault
            process.terminate()
            _copy(process, log, said)
        status = process.wait()
    result = LastRun(started_at=began, finished_at=_now(), status=abs(status) + 128 * (status < 0), said=said[0][:400])
    put(home() / f"{name}.last.json", json.dumps(asdict(result), indent=2) + "\n")
    put(home() / f"{name}.prom", metrics(name, result, _before(name, result)))
    if ended is not None:
        raise ended
    return result.status


def _copy(process: "subprocess.Popen[str]", log: TextIO, said: list[str]) -> None:
    """What a job says, into its log; its last line is kept."""
    assert process.stdout is not None
    for line in process.stdout:
        log.write(line)
        log.flush()
        said[0] = said[0] if line.startswith(NEXT) else line.strip() or said[0]


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


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
