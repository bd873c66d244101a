"""What a schedule's runs find in their environment: what of today's is written down, and whether a job can run so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import recast
from recast.jobs.schedules.schedule import Schedule, ScheduleError
from recast.pipeline import urls

KEPT_VARIABLES = (
    "PATH", "TMPDIR", "LANG", "LC_ALL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_API_SERVER_ADDRESS", "RAY_TMPDIR", "RECAST_LOG",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION", "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "FSSPEC_CONFIG_DIR",
)  # fmt: skip
"""Variables of the environment at installation that runs get: they say where things are, never what opens them."""
CREDENTIALS = re.compile(
    r"(AWS_|AZURE_|GOOGLE_|FSSPEC_|RAY_|HF_).*(KEY|SECRET|TOKEN|PASS|CREDENTIAL|SAS|CONNECTION_STRING).*|FSSPEC_\w+"
)
"""Variables that runs may well need, and that are not written down."""
CRON_PATH = "/usr/bin:/bin"
CHECK_S = 180.0
"""How long the dry run of a job may take when a schedule is installed; what is longer than this has begun well."""


def kept() -> dict[str, str]:
    """What of this environment runs get."""
    here = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {name: value for name, value in here.items() if urls.without_secrets(value) == value}


def lacking() -> tuple[str, ...]:
    """What runs won't have of this environment: credentials, which are not written down."""
    found = sorted(name for name in os.environ if CREDENTIALS.fullmatch(name) and name not in KEPT_VARIABLES)
    if not found:
        return ()
    return (
        f"{', '.join(found)} of your environment {'is' if len(found) == 1 else 'are'} not kept, for a schedule writes "
        "no credentials down; put them where their own tools look: ~/.aws/credentials (and AWS_PROFILE), a service "
        "account's file (GOOGLE_APPLICATION_CREDENTIALS), ~/.config/fsspec/*.json for others",
    )


def try_as_cron_does(schedule: Schedule, folder: str, *, dry: bool) -> None:
    """Run the job in a clean environment, dry, or where it can't be, `recast --version`. Raises ScheduleError, with
    what it said, if that fails."""
    clean = {name: os.environ[name] for name in ("HOME", "LOGNAME", "USER") if name in os.environ}
    clean |= {"PATH": CRON_PATH, "SHELL": "/bin/sh", "PYTHONPATH": code()}
    try:
        done = subprocess.run(
            [*command(schedule), "--dry-run"] if dry else command(None), env=clean | kept(), cwd=folder,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=CHECK_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        missing = "".join(f" ({sentence})" for sentence in lacking())
        raise ScheduleError(
            f"nothing is installed, for the job can't run as {schedule.name} would run it, without this terminal's "
            f"environment: {said[-1].removeprefix('error: ')}{missing}"
        )


def command(schedule: Schedule | None) -> list[str]:
    """A schedule's job, or the least that `recast` can do, as this installation of it runs."""
    return [sys.executable, "-m", "recast", *(schedule.command if schedule else ("--version",))]


def code() -> str:
    """The folder that `recast` is imported from."""
    return str(Path(recast.__file__).parents[1])
