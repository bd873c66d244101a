"""`recast submit`: the same job on a Ray cluster, through Ray's job server."""

import asyncio
import shlex
import sys
from collections.abc import Sequence

from ray.job_submission import JobStatus, JobSubmissionClient

DONE, FAILED = 0, 1
DEFAULT_ADDRESS = "http://127.0.0.1:8265"


class SubmissionError(Exception):
    """The job server can't be used as asked; the message is a sentence for a person."""


def submit(arguments: Sequence[str], *, address: str | None, follow: bool, name: str | None) -> int:
    """Start `recast ARGUMENTS` on a cluster that has Recast installed; with `follow`, stay until it ends.

    Raises:
        SubmissionError: no job server answers there, or it refuses.
    """
    try:
        client = JobSubmissionClient(address or DEFAULT_ADDRESS)
        job = client.submit_job(
            entrypoint=shlex.join(["python", "-m", "jobs", *arguments]),
            submission_id=name,
            metadata={"recast.job": arguments[0]},
        )
    except (ConnectionError, RuntimeError) as fault:
        raise SubmissionError(f"submitting to {address or DEFAULT_ADDRESS} failed: {fault}") from fault
    print(job, flush=True)
    if not follow:
        print(f"running on the cluster; see it with `ray job logs {job} --follow`", file=sys.stderr)
        return DONE
    try:
        asyncio.run(_follow(client, job))
    except KeyboardInterrupt:
        print(f"the job goes on; come back with `ray job logs {job} --follow`", file=sys.stderr)
        raise
    return _status(client, job)


async def _follow(client: JobSubmissionClient, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        print(lines, end="", file=sys.stderr, flush=True)


def _status(client: JobSubmissionClient, job: str) -> int:
    """The job's own exit status, where Ray knows it."""
    info = client.get_job_info(job)
    if info.status == JobStatus.SUCCEEDED:
        return DONE
    return info.driver_exit_code or FAILED
