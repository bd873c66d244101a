"""Inside a cluster: create a RayJob, wait for its end, and end as it did. What the CronJob of a schedule runs."""

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from recast.jobs.schedules.schedule import ScheduleError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SERVER = "https://kubernetes.default.svc"
LOOK_EVERY_S = 10.0
PATIENCE_S = 600.0
"""How long the API server may stay away."""
OVER = {"SUCCEEDED": 0, "FAILED": 1, "STOPPED": 130}
GIVEN_UP = ("Failed", "ValidationFailed")


def fire(manifest: str, *, server: str = SERVER, account: Path = ACCOUNT, look_every_s: float = LOOK_EVERY_S) -> int:
    """Create the RayJob that a file describes, and wait until it is over. Returns 0, or another status if it failed.

    Raises:
        ScheduleError: the API server refuses, or is unreachable.
    """
    job = yaml.safe_load(Path(manifest).read_text())
    api = _Api(server, account)
    namespace = job["metadata"].get("namespace", "default")
    path = f"/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
    created = api.ask(path, job)
    name = created["metadata"]["name"]
    print(f"RayJob {name} is created", flush=True)
    seen, away_since = "", time.monotonic()
    while True:
        time.sleep(look_every_s)
        try:
            status = api.ask(f"{path}/{name}").get("status") or {}
        except OSError as fault:
            if time.monotonic() - away_since > PATIENCE_S:
                raise ScheduleError(f"the Kubernetes API is unreachable: {fault}") from fault
            continue
        away_since = time.monotonic()
        now = f"{status.get('jobDeploymentStatus', '')} {status.get('jobStatus', '')}".strip()
        if now != seen:
            print(f"RayJob {name}: {now}", flush=True)
            seen = now
        if status.get("jobDeploymentStatus") in GIVEN_UP:
            raise ScheduleError(f"RayJob {name} failed: {status.get('message') or status.get('reason') or now}")
        if status.get("jobStatus") in OVER and status.get("jobDeploymentStatus") == "Complete":
            return OVER[status["jobStatus"]]


class _Api:
    """The Kubernetes API, as a pod's service account may use it."""

    def __init__(self, server: str, account: Path) -> None:
        self._server, self._account = server, account
        authority = account / "ca.crt"
        self._context = ssl.create_default_context(cafile=str(authority)) if authority.exists() else None

    def ask(self, path: str, body: Any = None) -> dict[str, Any]:
        """GET, or POST a body. Raises ScheduleError if it is refused, OSError if nobody answers."""
        token = (self._account / "token").read_text().strip()  # renewed on disk from time to time
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._server + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as fault:
            if fault.code >= 500:
                raise OSError(f"status {fault.code}") from fault
            reason = fault.read().decode(errors="replace")[:400]
            raise ScheduleError(f"the Kubernetes API refuses {path}: {fault.code} {reason}") from fault
