"""Jobs on a real cluster started by `ray start --head`: submitted, followed, listed and stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from recast.jobs import exit_status, submission
from recast.jobs.samples.faces import write_faces
from tests.pipeline.bulk.bundle_operation import begun, upscaler
from tests.pipeline.bulk.test_road import image

HOST = "127.0.0.8"
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def without_recast(folder: Path) -> Path:
    """A path on which Recast can't be imported, whatever is installed."""
    (folder / "recast").mkdir(parents=True)
    (folder / "recast" / "__init__.py").write_text("raise ImportError('this cluster has no Recast')\n")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The job server of a cluster of two nodes that wants a token: infra/local/cluster.sh up, and down."""
    home = tmp_path_factory.mktemp("local")
    ports = {f"RECAST_LOCAL_{name}_PORT": str(free_port()) for name in ("RAY", "DASHBOARD", "S3")}
    where = {"RECAST_LOCAL": str(home), "RECAST_LOCAL_IP": HOST, **ports}
    here = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_"))}
    there = {**here, **where, "PYTHONPATH": str(without_recast(home / "there"))}
    script = str(ROOT / "infra/local/cluster.sh")
    try:
        subprocess.run([script, "up", "2"], check=True, capture_output=True, timeout=120, env=there)
        found = subprocess.run(["bash", "-c", f". {home}/env; env -0"], check=True, capture_output=True, env=here)
        given = dict(line.split("=", 1) for line in found.stdout.decode().split("\0") if line)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("PATH", *(name for name in given if name.startswith(("AWS_", "RAY_")))):
                patch.setenv(name, given[name])
            patch.setenv("PYTHONPATH", str(ROOT))
            yield given["RAY_API_SERVER_ADDRESS"]
    finally:
        subprocess.run([script, "down"], check=True, capture_output=True, timeout=60, env=there)
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if str(home / "token").encode() in _read(path)]
    assert [(path.parent / "cmdline").read_text() for path in left] == []


def recast(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """The command in a process of its own: Ray reads where its token lies when it is imported."""
    command = [sys.executable, "-m", "recast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=360, env={**os.environ, **environment})


def test_a_followed_job_shows_its_log_and_ends_with_its_own_status(server, tmp_path, monkeypatch):
    """More inputs fail than are allowed: 3 here as there; the output is what a run on this machine would have left.

    The cluster doesn't have this Recast: its code comes along, and the command's file; paths mean what they do here.
    """
    image(tmp_path / "in/a.png", 1)
    (tmp_path / "in/bad.png").write_bytes(b"bad")
    upscaler(tmp_path / "bundle")
    (tmp_path / "job.yaml").write_text("model: bundle\nactors: 1\nmax_failed: 0.1\n")
    monkeypatch.chdir(tmp_path)
    done = recast("submit", "--follow", "--name", "one", "upscale", "-c", "job.yaml", "in", "out")
    assert (done.returncode, done.stdout) == (3, "one\n"), done.stderr
    assert "1 ok, 1 failed" in done.stderr
    assert recast("index", "verify", tmp_path / "out").returncode == exit_status.DONE
    listed = recast("jobs", "list").stdout
    assert all(word in listed for word in ("one ", "FAILED", "upscale"))
    again = recast("jobs", "logs", "one", "--follow")
    assert again.returncode == 3
    assert "1 ok, 1 failed" in again.stderr


@pytest.mark.timeout(400)
def test_a_passcode_is_nowhere_after_a_submitted_job(server, tmp_path):
    """Not in a process list while it runs, nor in Ray's metadata, logs and session, nor in output, page or bundle."""
    write_faces(str(tmp_path / "faces"), count=2, size_px=96)
    begun("passcode", tmp_path / "bundle")
    passcode = "nobody-would-guess-this-one"
    (tmp_path / "passcode").write_text(passcode + "\n")
    source, table = tmp_path / "faces/scenes/train", tmp_path / "faces/scenes/train.parquet"
    command = [
        "deidentify", source, tmp_path / "out", "--detector", "none", "--boxes", table, "--model", tmp_path / "bundle",
        "--seal", "--keys", "hmac", "--passcode-file", tmp_path / "passcode", "--actors", "1",
    ]  # fmt: skip
    seen = b""
    job = recast("submit", "--name", "secret", *command)
    assert (job.returncode, job.stdout) == (0, "secret\n"), job.stderr
    until = time.monotonic() + 300
    while b'"SUCCEEDED"' not in told_by(server, "/api/jobs/secret"):
        seen += b"".join(_read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))
        seen += b"".join(_read(path) for path in Path("/proc").glob("[0-9]*/environ"))
        assert time.monotonic() < until, recast("jobs", "logs", "secret").stdout
        time.sleep(0.25)
    assert b"--passcode-file" in seen
    assert recast("audit", tmp_path / "out").returncode == 0
    for path in ("/api/jobs/", "/api/jobs/secret", "/api/jobs/secret/logs", "/api/v0/tasks?detail=1"):
        seen += told_by(server, path)
    (tmp_path / "passcode").unlink()
    nodes = (Path(os.environ["RAY_AUTH_TOKEN_PATH"]).parent / "nodes").resolve()
    for path in (*tmp_path.rglob("*"), *nodes.rglob("*")):
        seen += _read(path)
    assert len(seen) > 100_000
    assert passcode.encode() not in seen


def told_by(server: str, path: str) -> bytes:
    """What the job server answers to who has the token."""
    token = {"Authorization": f"Bearer {Path(os.environ['RAY_AUTH_TOKEN_PATH']).read_text()}"}
    with urllib.request.urlopen(urllib.request.Request(server + path, headers=token), timeout=30) as answer:
        return answer.read()


def _read(path: Path) -> bytes:
    """A file's bytes; nothing where it is gone, or no file."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


def test_a_followed_job_is_left_running_and_stopped_later(server):
    """Interrupting or terminating whoever follows does not end the job; `jobs stop` does."""
    script = f"""
from ray.job_submission import JobSubmissionClient
print(JobSubmissionClient("{server}").submit_job(
    entrypoint="echo begun; sleep 300", metadata={{"{submission.METADATA}": "train"}}))
"""
    job = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()
    command = [sys.executable, "-m", "recast", "jobs", "logs", job, "--follow"]
    for number, status, said in (
        (signal.SIGINT, exit_status.INTERRUPTED, "interrupted"),
        (signal.SIGTERM, exit_status.TERMINATED, "ended by SIGTERM"),
    ):
        follower = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert follower.stderr is not None
        assert any("begun" in line for line in follower.stderr)
        follower.send_signal(number)
        last = follower.stderr.read().splitlines()[-1]
        assert last == f"{said}; the job continues; come back with `recast jobs logs {job} --follow`"
        assert follower.wait(30) == status
    assert "RUNNING" in recast("jobs", "list").stdout
    assert recast("jobs", "stop", job).returncode == exit_status.DONE
    deadline = time.monotonic() + 60
    while "STOPPED" not in recast("jobs", "list").stdout:
        assert time.monotonic() < deadline


class Line:
    """Between a client and a server: a connection that can be cut, and be away for a while."""

    def __init__(self, target: str) -> None:
        self._target = (urlsplit(target).hostname, urlsplit(target).port)
        self.port, self._open = free_port(), []
        self.mend()

    def mend(self) -> None:
        self._door = socket.create_server((HOST, self.port))
        threading.Thread(target=self._serve, args=(self._door,), daemon=True).start()

    def cut(self) -> None:
        for end in (self._door, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def _serve(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                ends = door.accept()[0], socket.create_connection(self._target)
                self._open += ends
                for one, other in (ends, ends[::-1]):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


def test_a_followed_job_is_followed_on_after_a_lost_connection(server):
    """Every line once, and the job's own status in the end."""
    script = f"""
from ray.job_submission import JobSubmissionClient
print(JobSubmissionClient("{server}").submit_job(
    entrypoint="for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.5; done; exit 7"))
"""
    job = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()
    line = Line(server)
    command = [
        sys.executable,
        "-m",
        "recast",
        "jobs",
        "logs",
        job,
        "--follow",
        "--address",
        f"http://{HOST}:{line.port}",
    ]
    follower = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert follower.stderr is not None
    seen = []
    for said in follower.stderr:
        seen.append(said.strip())
        if seen[-1] == "line 2":
            line.cut()
            time.sleep(3)
            line.mend()
    assert follower.wait(60) == 7
    assert [said for said in seen if said.startswith("line")] == [f"line {n}" for n in range(1, 9)]


def test_what_can_not_be_done_is_one_sentence(server):
    """A command that makes no sense is refused on this side; a job, a server or a token that isn't there is named."""
    with ThreadPoolExecutor() as at_once:
        asked = [
            at_once.submit(recast, "submit", "upscale", "in", "out", "--scale", "7"),
            at_once.submit(recast, "jobs", "logs", "no-such-job"),
            at_once.submit(recast, "jobs", "list", "--address", "http://127.0.0.1:9"),
            at_once.submit(recast, "jobs", "list", RAY_AUTH_MODE="disabled"),
        ]
    wrong, missing, nobody, stranger = (done.result() for done in asked)
    assert (wrong.returncode, wrong.stdout) == (exit_status.BAD_USAGE, "")
    for done, says in ((missing, "no-such-job"), (nobody, "http://127.0.0.1:9"), (stranger, "it requires a token")):
        assert done.returncode == exit_status.FAILED
        assert says in done.stderr
        assert "Traceback" not in done.stderr
