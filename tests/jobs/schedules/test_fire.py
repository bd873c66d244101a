"""The CronJob's pod creates a RayJob, waits for it, and ends as it did; against a stand-in for the Kubernetes API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from recast.jobs.schedules.fire import fire
from recast.jobs.schedules.render import Place, rayjob
from recast.jobs.schedules.schedule import Schedule, ScheduleError

JOB = Schedule(name="nightly", cron="@daily", command=("upscale", "in", "out"))


class Api(BaseHTTPRequestHandler):
    """Answers GETs with one status after the other; keeps what was posted."""

    statuses: list
    posted: list

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.posted.append((self.path, self.headers["Authorization"], body))
        if body["kind"] != "RayJob":
            return self._answer(422, {"message": "no RayJob"})
        return self._answer(201, {"metadata": {"name": body["metadata"]["generateName"] + "x7k2p"}})

    def do_GET(self):
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return self._answer(status, {}) if isinstance(status, int) else self._answer(200, {"status": status})

    def _answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(tmp_path):
    """The server, what it was sent, and where the account's token lies."""
    handler = type("Handler", (Api,), {"statuses": [], "posted": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "token").write_text("a-token\n")
    (tmp_path / "rayjob.yaml").write_text(next(iter(rayjob(JOB, Place(namespace="ns")).values())))
    yield handler, f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()


def fired(api):
    _, address, folder = api
    return fire(str(folder / "rayjob.yaml"), server=address, account=folder, look_every_s=0.01)


RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}


@pytest.mark.parametrize(("word", "status"), [("SUCCEEDED", 0), ("FAILED", 1), ("STOPPED", 130)])
def test_it_ends_as_the_job_did(api, word, status, capsys):
    handler, _, _ = api
    over = {"jobDeploymentStatus": "Complete", "jobStatus": word}
    handler.statuses[:] = [{}, RUNNING, 503, {**over, "jobDeploymentStatus": "Running"}, over]
    assert fired(api) == status
    ((path, token, body),) = handler.posted
    assert path == "/apis/ray.io/v1/namespaces/ns/rayjobs"
    assert token == "Bearer a-token"
    assert body == yaml.safe_load(next(iter(rayjob(JOB, Place(namespace="ns")).values())))
    assert f"RayJob nightly-x7k2p: Complete {word}" in capsys.readouterr().out


def test_a_cluster_that_never_came_up_is_a_failure(api):
    handler, _, _ = api
    handler.statuses[:] = [RUNNING, {"jobDeploymentStatus": "Failed", "message": "no room"}]
    with pytest.raises(ScheduleError, match="no room"):
        fired(api)


def test_a_refusal_is_told(api):
    _, _, folder = api
    job = yaml.safe_load((folder / "rayjob.yaml").read_text())
    (folder / "rayjob.yaml").write_text(yaml.safe_dump({**job, "kind": "Pod"}))
    with pytest.raises(ScheduleError, match="422 .*no RayJob"):
        fired(api)
