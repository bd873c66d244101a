"""`recast submit` and `recast jobs`: jobs that run on a Ray cluster."""

from typing import Annotated

import cyclopts
from cyclopts import App, Parameter

from recast.jobs.app import understood

jobs_app = App(name="jobs", help="List, read the logs of, and stop Recast jobs on a Ray cluster.")


def submit(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    address: str | None = None,
    follow: bool = False,
    name: str | None = None,
) -> int:
    """Run a job on a Ray cluster: `recast submit [--address URL] [--follow] [--name N] JOB ARGS…`.

    Parameters
    ----------
    address
        Address of the cluster's job server; by default RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265.
    follow
        Show the job's log and return its exit status.
    name
        Submission id; by default Ray makes one.
    """
    from recast.jobs import submission

    if not command:
        raise cyclopts.CycloptsError(msg="submit needs a job: recast submit upscale SOURCE OUTPUT")
    words, config = understood(command)
    return submission.submit(words, config, address=address, follow=follow, name=name)


@jobs_app.command(name="list")
def jobs_list(*, address: str | None = None) -> int:
    """List the jobs that `recast submit` started, the newest first.

    Parameters
    ----------
    address
        Address of the cluster's job server; by default RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265.
    """
    from recast.jobs import submission

    return submission.list_jobs(address=address)


@jobs_app.command(name="logs")
def jobs_logs(job: str, *, address: str | None = None, follow: bool = False) -> int:
    """Print the log of JOB.

    Parameters
    ----------
    address
        Address of the cluster's job server.
    follow
        Stay until the job ends, and return its exit status.
    """
    from recast.jobs import submission

    return submission.logs(job, address=address, follow=follow)


@jobs_app.command(name="stop")
def jobs_stop(job: str, *, address: str | None = None) -> int:
    """End JOB; what it has settled stays, and the same command goes on from there.

    Parameters
    ----------
    address
        Address of the cluster's job server.
    """
    from recast.jobs import submission

    return submission.stop(job, address=address)
