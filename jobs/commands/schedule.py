"""`recast schedule`: the same job, recurring."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from recast.jobs.app import Commands
from recast.jobs.arguments import Json
from recast.jobs.exit_status import DONE
from recast.jobs.headings import CLUSTERS
from recast.pipeline import events, storage

schedule_app = Commands(
    name="schedule", group=CLUSTERS, help="Put a job on a schedule: on this machine, in Kubernetes, or in Airflow."
)

Command = Annotated[
    str,
    Parameter(name="JOB", allow_leading_hyphen=True, help="A job and its arguments, as they would follow `recast`."),
]
Name = Annotated[str, Parameter(help="The schedule's name, as `recast schedule list` shows it.")]


def _checked(command: tuple[str, ...], *, here: bool) -> tuple[str, ...]:
    """The command, if `recast` itself takes it, its -c file where the schedule will find it: here, or on storage."""
    from recast.jobs.app import understood
    from recast.jobs.config_files import without_config
    from recast.jobs.specs import place

    if not command:
        raise cyclopts.CycloptsError(msg="a schedule needs a job: recast schedule … deidentify SOURCE OUTPUT")
    understood(command)
    words, config = without_config(list(command))
    if config and not here and "://" not in config:
        raise cyclopts.CycloptsError(
            msg=f"{config} lies on this machine, where the schedule won't run; put it on storage (-c s3://…), or give "
            "its fields as flags"
        )
    return (*words, "-c", place(config)) if config else command


@schedule_app.command
def render(
    *command: Command,
    to: Literal["kubernetes", "raycronjob", "rayjob", "systemd", "airflow"],
    cron: str = "@daily",
    name: str | None = None,
    folder: str | None = None,
    image: str = "recast:latest",
    namespace: str = "default",
    passcode_secret: str = "",
    storage_secret: str = "",
    cpu_workers: str = "4",
    gpu_workers: str = "0",
    replace: bool = False,
) -> int:
    """Write the files that put a job on a schedule elsewhere; the options of `render` itself come before the job.

    Example: `recast schedule render --to kubernetes --cron @daily upscale s3://bucket/in s3://bucket/out`

    Parameters
    ----------
    to
        kubernetes: a CronJob that creates RayJobs and waits for them; raycronjob: KubeRay's own, alpha; rayjob: one
        run; systemd: a service and its timer; airflow: a DAG.
    cron
        Minute, hour, day of the month, month, day of the week; or @hourly, @daily, ….
    name
        The schedule's name; by default it is made of the job and the place of its results.
    folder
        The folder that the files go to; by default they are printed.
    image
        The container image of Kubernetes' pods, with Recast and Ray in it (see infra/docker).
    namespace
        The namespace of Kubernetes' objects.
    passcode_secret
        A Secret whose key `passcode` becomes the file /var/run/secrets/recast/passcode.
    storage_secret
        A Secret whose key `credentials` is an AWS credentials file for the job and its workers.
    cpu_workers
        How many nodes with 8 CPUs; for a training that takes in nodes that come and go a range, as in 2:4.
    gpu_workers
        How many nodes with 8 CPUs and a GPU, likewise.
    replace
        Overwrite files of FOLDER that say something else.
    """
    from recast.jobs.schedules.render import RENDERERS, Place
    from recast.jobs.schedules.schedule import Schedule, ScheduleError, named_after

    command = _checked(command, here=to == "systemd")
    schedule = Schedule(name=name or named_after(command), cron=cron, command=command)
    place = Place(
        image=image, namespace=namespace, passcode_secret=passcode_secret, storage_secret=storage_secret,
        cpu_workers=_nodes("cpu", cpu_workers, command), gpu_workers=_nodes("gpu", gpu_workers, command),
    )  # fmt: skip
    if to in ("kubernetes", "raycronjob", "rayjob") and not (place.cpu_workers[0] or place.gpu_workers[0]):
        raise ScheduleError("the cluster would begin without a node to work on: --cpu-workers 4, or --gpu-workers 4")
    files = RENDERERS[to](schedule, place)
    if folder is not None:
        return _written(files, folder, replace=replace)
    for file, text in files.items():
        print(f"# {file}\n{text}" if len(files) > 1 else text, end="")
    return DONE


def _written(files: Mapping[str, str], folder: str, *, replace: bool) -> int:
    """Write all of the files, or, where one of them is there and says something else, none."""
    from recast.jobs.existing import new_file
    from recast.jobs.specs import place

    where = {storage.join(place(folder), name): text.encode() for name, text in files.items()}
    for url, data in where.items():
        new_file(url, replace=replace, own=data.__eq__)
    for url, data in where.items():
        with storage.faults_as_sentences(f"writing {url}"):
            storage.write_bytes(*storage.filesystem(url), data)
        print(url)
    return DONE


@schedule_app.command
def install(
    *command: Command,
    cron: str,
    name: str | None = None,
    keeper: Literal["crontab", "systemd"] = "crontab",
    replace: bool = False,
    check: Annotated[bool, Parameter(negative="--no-check")] = True,
) -> int:
    """Put a job on a schedule on this machine; the options of `install` itself come before the job.

    Example: `recast schedule install --cron "30 2 * * *" upscale photos/ upscaled/`

    Parameters
    ----------
    cron
        Minute, hour, day of the month, month, day of the week; or @hourly, @daily, ….
    name
        The schedule's name; by default it is made of the job and the place of its results.
    keeper
        The scheduler: this user's crontab, or this user's systemd.
    replace
        Replace a schedule of the same name.
    check
        First dry-run the job in the bare environment that cron will give it.
    """
    from recast.jobs.schedules import local
    from recast.jobs.schedules.schedule import Schedule, named_after

    command = _checked(command, here=True)
    schedule = Schedule(name=name or named_after(command), cron=cron, command=command)
    if check:
        events.say(f"{schedule.name}: checking that the job can run without this terminal's environment")
    installed = local.install(schedule, keeper, replace=replace, check=check, dry=_has_a_dry_run(command))
    for warning in installed.warnings:
        events.say(f"warning: {warning}")
    events.show(f"{schedule.name}: {schedule.shell}, {schedule.cron}, kept by {keeper}; its log is {installed.log}")
    return DONE


def _has_a_dry_run(command: tuple[str, ...]) -> bool:
    from recast.jobs.app import understood

    try:
        understood((*command, "--dry-run"))
    except cyclopts.CycloptsError:
        return False
    return True


@schedule_app.command(name="list")
def list_(*, as_json: Json = False) -> int:
    """List this machine's schedules and the outcome of each one's last run.

    Example: `recast schedule list`
    """
    from recast.jobs.schedules import local

    rows = []
    for name in local.names():
        schedule, facts = local.read(name)
        last = local.last_run(name)
        rows.append(
            {
                "name": name, "cron": schedule.cron, "keeper": facts["keeper"], "command": schedule.shell,
                "last_run": last.finished_at if last else None, "status": last.status if last else None,
                "outcome": last.outcome if last else "not run yet", "said": last.said if last else "",
            }
        )  # fmt: skip
    if as_json:
        print(json.dumps(rows))
        return DONE
    for row in rows:
        events.show(
            f"{row['name']:24} {row['cron']:14} {row['last_run'] or '':26} {row['outcome']:12} {row['command']}"
        )
    if not rows:
        events.say("no schedules on this machine")
    return DONE


@schedule_app.command
def remove(name: Name) -> int:
    """Remove a schedule from this machine; its results and its log stay.

    Example: `recast schedule remove nightly`
    """
    from recast.jobs.schedules import local

    local.remove(name)
    events.show(f"{name} is no longer on a schedule")
    return DONE


@schedule_app.command
def run(name: Name, *, quiet: bool = False) -> int:
    """Run a schedule's job now, as cron does, and record its log and outcome; the exit status is the job's.

    Example: `recast schedule run nightly`

    Parameters
    ----------
    quiet
        Print nothing; cron mails whatever is printed.
    """
    from recast.jobs.schedules import local

    local.read(name)
    if not quiet:
        events.say(f"{name}: running; its log is {local.home() / name}.log")
    status = local.run(name)
    last = local.last_run(name)
    if last and not quiet:
        events.say(f"{name}: {last.outcome}{f': {last.said}' if last.said else ''}")
    return status


@schedule_app.command
def fire(
    manifest: Annotated[str, Parameter(help="The file with the RayJob, as `render --to kubernetes` writes it.")],
) -> int:
    """Inside a Kubernetes cluster, create the RayJob of a file, wait for its end, and exit as it did.

    Example: `recast schedule fire /etc/recast/rayjob.yaml`
    """
    from recast.jobs.schedules.fire import fire

    return fire(manifest)


def _nodes(kind: str, text: str, command: Sequence[str]) -> tuple[int, int]:
    """The least and the greatest number of a kind of nodes. Raises ScheduleError."""
    from recast.jobs.schedules.schedule import ScheduleError

    least, colon, most = text.partition(":")
    if not (least.isdecimal() and (most.isdecimal() if colon else True)):
        raise ScheduleError(f"{text!r} is no number of nodes; it must be so many, or least:most")
    found = int(least), int(most if colon else least)
    if found[0] != found[1] and command[0] != "train":
        raise ScheduleError(
            f"--{kind}-workers {text}: `recast {command[0]}` makes its workers for the nodes that are there when it "
            f"starts, and none for those that come later; say how many, as in {found[1]}"
        )
    return found
