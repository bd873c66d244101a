"""A Ray cluster that doesn't answer is told from one that does, and within seconds."""

import contextlib
import socket
import threading
import time

import pytest
import ray

from recast.jobs import cli, exit_status
from recast.pipeline import reach
from tests.pipeline.bulk.bundle_operation import upscaler


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(reach, "PATIENCE_S", 1.0)


@pytest.fixture
def port():
    """Of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def answering(said):
    """The port of a server that says one thing and closes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError), server:
            line, _ = server.accept()
            line.recv(100)
            line.sendall(said)
            line.close()

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_nobody_and_a_mute_are_told_apart_from_a_cluster(port, scheme):
    began = time.monotonic()
    assert "it says nothing within 1 s" in reach.unreachable(f"{scheme}127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    assert "connection refused" in reach.unreachable(f"{scheme}127.0.0.1:{free}")
    web = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert "what is there is no Ray cluster" in reach.unreachable(f"{scheme}127.0.0.1:{web}")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("address", ["http://head:8265", "head:port", ":6379", "head:0", "ray://"])
def test_what_is_no_address_is_told_without_asking_anybody(address):
    assert "is no address of a Ray cluster" in reach.unreachable(address)


def test_a_job_on_a_dead_cluster_ends_with_a_sentence_and_writes_nothing(tmp_path, port, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"x")
    model = upscaler(tmp_path / "bundle")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    began = time.monotonic()
    assert cli._status(["upscale", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model]) == exit_status.FAILED
    assert time.monotonic() - began < 30
    assert f"no Ray cluster answers at RAY_ADDRESS=127.0.0.1:{port}" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/shards/*"))


def test_a_cluster_that_is_there_answers(ray_local, monkeypatch):
    monkeypatch.setattr(reach, "PATIENCE_S", 10.0)
    assert reach.unreachable(ray.get_runtime_context().gcs_address) == ""
