"""The lease: one writer at a time, none that is dead, and none that is fooled by clocks, names or lost answers."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import threading
import time

import botocore.exceptions
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from recast.pipeline import storage
from recast.pipeline.output import lease, processes
from recast.pipeline.output.lease import Lease, LeaseError, confirm


def at(url) -> tuple:
    return storage.filesystem(str(url))


def held(**changes) -> str:
    """A lease.json of a writer on another host, seen just now."""
    facts = {"run": "far", "token": "t", "host": "elsewhere", "pid": 1, "born": "x+1+5", "renewed_at": time.time()}
    return json.dumps(facts | changes)


@pytest.fixture
def quick(monkeypatch):
    """A hundredth of the times."""
    for name, value in {"RENEW_S": 0.1, "EXPIRE_S": 0.6, "SETTLE_S": 0.1}.items():
        monkeypatch.setattr(lease, name, value)


def test_a_second_writer_is_refused_and_told_who_holds_it_and_what_to_do(tmp_path):
    said = r"run first .*wait until it is done, or stop it.*60 s is taken over"
    with Lease(*at(tmp_path), "first"), pytest.raises(LeaseError, match=said), Lease(*at(tmp_path), "second"):
        pass


def test_a_released_lease_stays_and_keeps_the_epoch_which_grows_with_each_turn(tmp_path):
    for epoch in (1, 2, 3):
        with Lease(*at(tmp_path), "first") as turn:
            assert turn.claim.epoch == epoch
    facts = json.loads((tmp_path / "lease.json").read_text())
    assert (facts["epoch"], facts["released"]) == (3, True)


def test_an_epoch_is_above_what_an_index_holds(tmp_path):
    """The lease may have been lost, or belong to an output of before there were epochs."""
    with Lease(*at(tmp_path), "first") as turn:
        turn.above(0)
        assert turn.claim.epoch == 1
        turn.above(41)
        assert turn.claim.epoch == 42
    assert json.loads((tmp_path / "lease.json").read_text())["epoch"] == 42


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
    with Lease(*at(tmp_path), "next") as turn:
        assert turn.claim.epoch == 2
    writer.wait()


def test_a_writer_elsewhere_is_refused_for_while_it_seems_alive_and_then_watched(tmp_path, quick):
    (tmp_path / "lease.json").write_text(held())
    with pytest.raises(LeaseError, match="elsewhere"), Lease(*at(tmp_path), "next"):
        pass
    (tmp_path / "lease.json").write_text(held(renewed_at=time.time() - 300, epoch=6))
    began = time.monotonic()
    with Lease(*at(tmp_path), "next") as turn:
        assert time.monotonic() - began >= lease.EXPIRE_S
        assert turn.claim.epoch == 7


@pytest.mark.parametrize("off_s", [86400, -86400])
def test_a_clock_that_is_a_day_off_is_no_lock_for_a_day_and_no_invitation(tmp_path, quick, off_s, monkeypatch):
    """Dead, it is taken over after its time; alive, with a clock as wrong, it is not."""
    (tmp_path / "lease.json").write_text(held(renewed_at=time.time() + off_s))
    with Lease(*at(tmp_path), "next"):
        pass
    (tmp_path / "lease.json").write_text(held(renewed_at=time.time() + off_s))
    sleep, naps = time.sleep, iter(range(3))

    def renewed_meanwhile(seconds):
        sleep(seconds)
        if next(naps, None) == 2:
            (tmp_path / "lease.json").write_text(held(renewed_at=time.time() + off_s + 10))

    monkeypatch.setattr(lease.time, "sleep", renewed_meanwhile)
    with pytest.raises(LeaseError, match="run far"), Lease(*at(tmp_path), "next"):
        pass


@pytest.mark.parametrize(
    "strange",
    ["", "{", "[" * 60000, '{"run": "other"}', held(epoch=-1), held(epoch=2**63), held(pid="x"), "1" * 200000],
)
def test_a_lease_that_nobody_could_have_meant_is_watched_and_taken(tmp_path, quick, strange):
    (tmp_path / "lease.json").write_text(strange)
    with Lease(*at(tmp_path), "next") as turn:
        assert turn.claim.epoch == 1


@pytest.mark.parametrize("other", ["another boot", "another pid namespace"])
def test_a_process_of_another_place_is_not_judged_by_its_number_here(tmp_path, other):
    """Containers, cloned machines: the host's name says nothing."""
    boot, namespace, _ = processes.born().split("+")
    elsewhere = {"another boot": f"x{boot}+{namespace}+7", "another pid namespace": f"{boot}+1+7"}[other]
    (tmp_path / "lease.json").write_text(held(host=socket.gethostname(), pid=2**22 - 1, born=elsewhere))
    with pytest.raises(LeaseError, match="is being written"), Lease(*at(tmp_path), "next"):
        pass


def test_a_process_in_a_pid_namespace_of_its_own_does_not_take_a_living_lease(tmp_path):
    """A real one, as containers have it, with the /proc of the host and with one of its own."""
    taking = (
        "import sys; from recast.pipeline import storage; from recast.pipeline.output.lease import Lease, LeaseError\n"
        "try:\n with Lease(*storage.filesystem(sys.argv[1]), 'inner'): print('taken')\n"
        "except LeaseError: print('refused')"
    )
    probe = subprocess.run(["unshare", "-rpf", "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("no namespaces here: " + probe.stderr.decode())
    for mount in ([], ["--mount-proc"]):
        with Lease(*at(tmp_path), "outer"):
            command = ["unshare", "-rpf", *mount, sys.executable, "-c", taking, str(tmp_path)]
            inner = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert inner.stdout == "refused\n", inner.stderr


def test_a_process_is_gone_only_where_that_is_sure():
    here = processes.born()
    place = here.rpartition("+")[0]
    assert not processes.is_gone(os.getpid(), here)
    assert processes.is_gone(os.getpid(), f"{place}+1")
    assert processes.is_gone(2**22 - 1, here)
    for unclear in ("", "+1", "x+1", "x+1+1"):
        assert not processes.is_gone(2**22 - 1, unclear)


def test_a_writer_notices_that_it_was_taken_over(tmp_path, quick):
    with Lease(*at(tmp_path), "slow") as slow:
        slow.confirm()
        (tmp_path / "lease.json").write_text(held(run="other"))
        with pytest.raises(LeaseError, match="taken over by run other"):
            slow.confirm()
        time.sleep(0.4)
        with pytest.raises(LeaseError, match="took over"):
            slow.check()
    assert json.loads((tmp_path / "lease.json").read_text())["run"] == "other"


def test_whose_run_is_over_has_no_claim(tmp_path):
    """A worker may outlive its driver."""
    with Lease(*at(tmp_path), "first") as turn:
        claim = turn.claim
        confirm(*at(tmp_path), claim)
    with pytest.raises(LeaseError):
        confirm(*at(tmp_path), claim)


class OutageError(Exception):
    """A fault that is neither of storage nor expected."""


@pytest.mark.parametrize(
    "fault", [OSError("x"), botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"), OutageError("x")]
)
def test_an_outage_of_whatever_kind_neither_ends_the_renewer_nor_passes_unnoticed(tmp_path, quick, monkeypatch, fault):
    """Short, it is got over; as long as a lease lasts, it stops the run."""
    read, away = storage.read_tagged, [True]

    def reading(*given):
        if away[0]:
            raise fault
        return read(*given)

    with Lease(*at(tmp_path), "one") as one:
        monkeypatch.setattr(storage, "read_tagged", reading)
        time.sleep(0.3)
        one.check()
        away[0] = False
        time.sleep(0.5)
        one.check()
        away[0] = True
        time.sleep(0.9)
        with pytest.raises(LeaseError, match="could not renew its lease"):
            one.check()
        away[0] = False
        time.sleep(0.3)
        one.check()


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


def test_on_object_storage_a_second_writer_is_refused_too(bucket, quick):
    first, second = (Lease(*at(f"{bucket}/out"), run) for run in ("first", "second"))
    with first, pytest.raises(LeaseError, match="run first"), second:
        pass
    with second:
        assert second.claim.epoch > first.claim.epoch


def test_on_object_storage_at_most_one_of_racing_writers_goes_on(bucket, quick):
    """On a store that keeps conditions exactly one does."""
    outcomes: list[Lease] = []
    gate = threading.Barrier(6)

    def contend(run: str) -> None:
        contender = Lease(*at(f"{bucket}/out"), run)
        gate.wait()
        with contextlib.suppress(LeaseError), contender as turn:
            time.sleep(1.0)
            with contextlib.suppress(LeaseError):
                turn.confirm()
                outcomes.append(turn)
            time.sleep(1.0)

    for _ in range(2):
        writers = [threading.Thread(target=contend, args=(f"{n}",)) for n in range(6)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(outcomes) <= 1
        assert len(outcomes) == 1 or not os.environ.get("RECAST_TEST_S3")
        outcomes.clear()


class Store(MemoryFileSystem):
    """An object store in memory: with ETags, and conditions that it keeps or ignores. A write may lose its answer, or
    take its time."""

    protocol = "etagged"
    cachable = False

    def __init__(self, *, keeps: bool) -> None:
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]  # of its own, and not of all file systems in memory
        self._keeps = keeps
        self.lost_answers = iter(())
        self.delays_s = iter(())
        self.puts = 0

    def info(self, path, **_):
        return super().info(path) | {"ETag": f'"{hashlib.md5(self.cat_file(path)).hexdigest()}"'}

    def pipe_file(self, path, value, mode="overwrite", IfMatch=None):
        time.sleep(next(self.delays_s, 0))
        self.puts += 1
        there = self.exists(path)
        if self._keeps and mode == "create" and there:
            raise FileExistsError(path)
        if self._keeps and IfMatch and not (there and self.info(path)["ETag"].strip('"') == IfMatch):
            raise FileExistsError(path)
        super().pipe_file(path, value)
        if next(self.lost_answers, False):
            raise TimeoutError("no answer")


@pytest.mark.parametrize("keeps", [True, False])
def test_what_a_store_keeps_of_conditions_is_found_by_asking_it(quick, keeps):
    store = Store(keeps=keeps)
    for epoch in (1, 2):
        with Lease(store, "/out", "run") as turn:
            assert turn._conditional == keeps
            assert turn.claim.epoch == epoch


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("lost", range(5))
def test_a_lost_answer_is_recognised_as_ones_own(quick, keeps, lost):
    """Whichever of the writes it is: taking, asking what the store keeps, renewing, releasing."""
    store = Store(keeps=keeps)
    with Lease(store, "/out", "before"):
        pass
    store.lost_answers = iter([n == lost for n in range(lost + 1)])
    with contextlib.suppress(storage.StorageError, TimeoutError), Lease(store, "/out", "run") as turn:
        time.sleep(0.35)
        turn.confirm()
    with Lease(store, "/out", "next"):
        pass


def test_with_conditions_a_takeover_between_look_and_write_is_noticed(quick):
    """A renewal that was on its way for long does not overwrite who took over meanwhile."""
    store = Store(keeps=True)
    with Lease(store, "/out", "slow") as slow:
        write_if = storage.write_if

        def overtaken(fs, path, data, etag):
            MemoryFileSystem.pipe_file(store, path, held(run="other").encode())
            write_if(fs, path, data, etag)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage, "write_if", overtaken)
            time.sleep(0.3)
        assert b"other" in store.cat_file("/out/lease.json")
        time.sleep(0.3)
        with pytest.raises(LeaseError):
            slow.check()


@pytest.mark.parametrize("seed", range(2))
def test_without_conditions_slow_writes_end_in_one_holder_of_the_highest_epoch(quick, seed):
    """Writers that start together, each PUT taking up to three times as long as the time to settle."""
    store = Store(keeps=False)
    chance = random.Random(seed)
    store.delays_s = iter(lambda: chance.choice([0, 0.02, 0.1, 0.3]), None)
    outcomes: list[tuple[int, bool]] = []

    def contend(run: str) -> None:
        with contextlib.suppress(LeaseError), Lease(store, "/out", run) as turn:
            time.sleep(0.8)
            try:
                turn.confirm()
                outcomes.append((turn.claim.epoch, True))
            except LeaseError:
                outcomes.append((turn.claim.epoch, False))
            time.sleep(0.5)

    writers = [threading.Thread(target=contend, args=(f"{n}",)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    holding = [epoch for epoch, held in outcomes if held]
    assert len(holding) <= 1
    assert len({epoch for epoch, _ in outcomes}) == len(outcomes)
