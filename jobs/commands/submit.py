"""`recast submit` and `recast jobs`: jobs that run on a Ray cluster."""

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from recast.jobs.app import Commands, understood
from recast.jobs.headings import CLUSTERS

Address = Annotated[
    str | None,
    Parameter(help="Address of the cluster's job server; by default RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265."),
]
JobName = Annotated[str, Parameter(help="The job's id, as `recast jobs list` shows it.")]

jobs_app = Commands(name="jobs", group=CLUSTERS, help="List, read the logs of, and stop Recast jobs on a Ray cluster.")


def submit(
    *command: Annotated[
        str,
        Parameter(
            name="JOB", allow_leading_hyphen=True, help="A job and its arguments, as they would follow `recast`."
        ),
    ],
    address: Address = None,
    follow: bool = False,
    name: str | None = None,
) -> int:
    """Run a job on a Ray cluster; the options of `submit` itself come before the job.

    Example: `recast submit --follow upscale s3://bucket/photos s3://bucket/upscaled`

    Parameters
    ----------
    follow
        Show the job's log until it ends, and return its exit status.
    name
        The job's id; by default Ray makes one.
    """
    from recast.jobs import submission

    if not command:
        raise cyclopts.CycloptsError(msg="submit needs a job: recast submit upscale SOURCE OUTPUT")
    words, config = understood(command)
    return submission.submit(words, config, address=address, follow=follow, name=name)


@jobs_app.command(name="list")
def jobs_list(*, address: Address = None) -> int:
    """List the jobs that `recast submit` started, the newest first.

    Example: `recast jobs list`
    """
    from recast.jobs import submission

    return submission.list_jobs(address=address)


@jobs_app.command(name="logs")
def jobs_logs(job: JobName, *, address: Address = None, follow: bool = False) -> int:
    """Print the log of JOB.

    Example: `recast jobs logs raysubmit_x1Yz --follow`

    Parameters
    ----------
    follow
        Stay until the job ends, and return its exit status.
    """
    from recast.jobs import submission

    return submission.logs(job, address=address, follow=follow)


@jobs_app.command(name="stop")
def jobs_stop(job: JobName, *, address: Address = None) -> int:
    """End JOB; its finished results stay, and submitting the same command again resumes it.

    Example: `recast jobs stop raysubmit_x1Yz`
    """
    from recast.jobs import submission

    return submission.stop(job, address=address)
