"""`recast submit` and `recast jobs`: the same commands on a Ray cluster, through Ray's job server."""

import asyncio
import contextlib
import datetime
import logging
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

import recast
from recast.jobs import signals
from recast.jobs.exit_status import DONE, FAILED
from recast.jobs.specs import FOLDER
from recast.pipeline import urls
from recast.pipeline.reasons import words

CODE = Path(recast.__file__).parent
"""What is shipped of Recast: all of its own code, and the bundles in it."""
CONFIG = "job.yaml"
"""The name that a command's -c file has where the job runs."""
DEFAULT_ADDRESS = "http://127.0.0.1:8265"
METADATA = "recast.job"
"""The mark of jobs that `recast submit` started, and the command's name."""
AGAIN_AFTER_S = 2.0
"""Between attempts to reach a job server that went away."""
STARTING_S = 60.0
"""How long a cluster that has just come up may take no jobs."""
PATIENCE_S = 300.0
"""How long a followed job's server may stay away."""
CHATTY = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging")
"""Loggers of Ray's that tell a person of packages and sockets."""
LOST = (ConnectionError, aiohttp.ClientError, RuntimeError, OSError)


class SubmissionError(Exception):
    """The job server can't be used as asked; the message is a sentence for a person."""

    exit_status = 1


def submit(arguments: Sequence[str], config: str, *, address: str | None, follow: bool, name: str | None) -> int:
    """Start `recast ARGUMENTS` on a cluster that has what Recast depends on; with `follow`, stay until it ends.

    This side's code is shipped, so that both sides are of one version; data, environment and secrets are not.

    Args:
        config: the text of the command's -c file; empty where it has none.

    Raises:
        SubmissionError: no job server answers there, or it refuses.
    """
    if any(urls.without_secrets(word) != word for word in arguments):
        raise SubmissionError(
            "the command has a password, a token or a signature in a URL, which everybody who sees the cluster's jobs "
            "could read; put the URL into a -c file, or its secret where the cluster's own tools look"
        )
    with _sentences("submitting", address) as client, _luggage(config) as folder:
        signals.afterwards("the cluster may have taken the job; `recast jobs list` shows it if so")
        command = [*arguments, *(["-c", CONFIG] if config else [])]
        job = _submitted(client, command, name, {"working_dir": folder, "env_vars": {FOLDER: os.getcwd()}})
    signals.afterwards(f"the job continues; see it with `recast jobs logs {job} --follow`")
    print(job, flush=True)
    if not follow:
        print(f"running on the cluster; see it with `recast jobs logs {job} --follow`", file=sys.stderr)
        return DONE
    return _followed(client, job)


@contextlib.contextmanager
def _luggage(config: str) -> Iterator[str]:
    """A folder with what a job needs from this side: Recast's code, and its -c file."""
    with tempfile.TemporaryDirectory(prefix="recast-") as folder:
        shutil.copytree(CODE, Path(folder) / CODE.name, ignore=shutil.ignore_patterns("__pycache__"))
        if config:
            (Path(folder) / CONFIG).write_text(config)
        yield folder


def _submitted(
    client: JobSubmissionClient, arguments: Sequence[str], name: str | None, environment: dict[str, Any]
) -> str:
    """The job's id. A cluster that has just come up takes jobs only after some seconds."""
    until = time.monotonic() + STARTING_S
    while True:
        try:
            return client.submit_job(
                entrypoint=shlex.join(["python", "-m", "recast", *arguments]),
                submission_id=name,
                runtime_env=environment,
                metadata={METADATA: arguments[0]},
            )
        except RuntimeError as fault:
            if "No available agent" not in str(fault) or time.monotonic() > until:
                raise
        time.sleep(AGAIN_AFTER_S)


def list_jobs(*, address: str | None) -> int:
    """Recast's jobs on a cluster, the newest first."""
    with _sentences("listing jobs", address) as client:
        found = [job for job in client.list_jobs() if METADATA in (job.metadata or {})]
    for job in sorted(found, key=lambda job: job.start_time or 0, reverse=True):
        began = datetime.datetime.fromtimestamp((job.start_time or 0) / 1000, datetime.UTC)
        print(
            f"{job.submission_id:34} {job.status.value:9} {began:%Y-%m-%d %H:%M:%S}  {(job.metadata or {})[METADATA]}"
        )
    return DONE


def logs(job: str, *, address: str | None, follow: bool) -> int:
    """A job's log so far; with `follow`, until it ends, and then its exit status."""
    with _sentences(f"reading the log of {job}", address) as client:
        client.get_job_info(job)
        if not follow:
            print(client.get_job_logs(job), end="")
            return DONE
    return _followed(client, job)


def stop(job: str, *, address: str | None) -> int:
    """End a job. Its finished results stay; the same command resumes it."""
    with _sentences(f"stopping {job}", address) as client:
        stopped = client.stop_job(job)
    print(f"{job}: {'stopping' if stopped else 'has ended already'}")
    return DONE


@contextlib.contextmanager
def _sentences(doing: str, address: str | None) -> Iterator[JobSubmissionClient]:
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    url = address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
    os.environ["RAY_API_SERVER_ADDRESS"] = url  # which Ray prefers to the address that its client is given
    try:
        yield JobSubmissionClient(url)
    except AuthenticationError as fault:
        raise SubmissionError(
            f"{doing} failed at {url}: it requires a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to its file"
        ) from fault
    except (ConnectionError, RuntimeError) as fault:
        reason = words(fault)
        raise SubmissionError(f"{doing} failed at {url}: {reason}") from fault


def _followed(client: JobSubmissionClient, job: str) -> int:
    signals.afterwards(f"the job continues; come back with `recast jobs logs {job} --follow`")
    return asyncio.run(_follow(client, job))


async def _follow(client: JobSubmissionClient, job: str) -> int:
    """Print the log as it grows, across lost connections, and return the job's own exit status."""
    printed, away = 0, 0.0
    while True:
        try:
            read = 0
            async for lines in client.tail_job_logs(job):
                print(lines[max(printed - read, 0) :], end="", file=sys.stderr, flush=True)
                read += len(lines)
                printed, away = max(printed, read), 0.0
            info = client.get_job_info(job)
            if info.status.is_terminal():
                return DONE if info.status == JobStatus.SUCCEEDED else info.driver_exit_code or FAILED
        except LOST as fault:
            away += AGAIN_AFTER_S
            if away > PATIENCE_S:
                raise SubmissionError(
                    f"the job server has not answered for {PATIENCE_S:.0f} s ({fault}); the job may well continue: "
                    f"`recast jobs logs {job} --follow`"
                ) from fault
        await asyncio.sleep(AGAIN_AFTER_S)
