"""The lease: one writer at a time, and none that is dead."""

import json
import multiprocessing
import subprocess
import sys
import time

import pytest

from recast.pipeline import storage
from recast.pipeline.output import lease
from recast.pipeline.output.lease import Lease, LeaseError


def at(url) -> tuple:
    return storage.filesystem(str(url))


def test_a_second_writer_is_refused_and_told_who_holds_it(tmp_path):
    with Lease(*at(tmp_path), "first"), pytest.raises(LeaseError, match="run first"), Lease(*at(tmp_path), "second"):
        pass


def test_a_released_lease_leaves_nothing_but_the_lock(tmp_path):
    with Lease(*at(tmp_path), "first"):
        assert (tmp_path / "lease.json").exists()
    with Lease(*at(tmp_path), "second"):
        pass
    assert not (tmp_path / "lease.json").exists()


def test_a_killed_writers_lease_is_taken_over_at_once(tmp_path):
    holding = (
        "import sys, time; from recast.pipeline import storage; from recast.pipeline.output.lease import Lease\n"
        "with Lease(*storage.filesystem(sys.argv[1]), 'dead'): print('held', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", holding, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"held\n"
    with pytest.raises(LeaseError), Lease(*at(tmp_path), "early"):
        pass
    writer.kill()  # not waited for: a zombie holds nothing
    time.sleep(0.2)
    with Lease(*at(tmp_path), "next"):
        pass
    writer.wait()


def test_a_silent_writer_on_another_host_is_taken_over_only_after_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    held = {"run": "far", "token": "t", "host": "elsewhere", "pid": 1, "born": "x", "renewed_at": time.time() - 30}
    (tmp_path / "lease.json").write_text(json.dumps(held))
    with pytest.raises(LeaseError, match="elsewhere"), Lease(*at(tmp_path), "next"):
        pass
    (tmp_path / "lease.json").write_text(json.dumps(held | {"renewed_at": time.time() - 300}))
    with Lease(*at(tmp_path), "next"):
        pass


def test_a_writer_notices_that_it_was_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    with Lease(*at(tmp_path), "slow") as slow:
        (tmp_path / "lease.json").write_text(json.dumps({"run": "other"}))
        time.sleep(0.3)
        with pytest.raises(LeaseError, match="took over"):
            slow.check()


def _race(url: str, gate, results) -> None:
    gate.wait()
    try:
        with Lease(*at(url), "racer"):
            results.put("held")
            time.sleep(2.5)
    except LeaseError:
        results.put("refused")


def test_of_racing_writers_one_gets_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    gate, results = context.Event(), context.Queue()
    racers = [context.Process(target=_race, args=(str(tmp_path), gate, results)) for _ in range(4)]
    for racer in racers:
        racer.start()
    time.sleep(3)
    gate.set()
    outcomes = sorted(results.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join()
    assert outcomes == ["held", "refused", "refused", "refused"]


def test_on_object_storage_a_second_writer_is_refused_too(bucket, monkeypatch):
    monkeypatch.setattr(lease, "SETTLE_S", 0.1)
    first, second = (Lease(*at(f"{bucket}/out"), run) for run in ("first", "second"))
    with first, pytest.raises(LeaseError, match="run first"), second:
        pass
    fs, path = at(f"{bucket}/out/lease.json")
    assert not fs.exists(path)
