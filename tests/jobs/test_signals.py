"""SIGTERM, Ctrl-C and impatience: the right status, a sentence that is true, and nothing on the floor."""

import contextlib
import getpass
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from PIL import Image

from recast.jobs import bulk, cli, demo, exit_status, signals
from recast.jobs.samples.facades import write_facades
from recast.pipeline.output import in_hand
from tests.pipeline.bulk.bundle_operation import upscaler

ENDED = "ended by SIGTERM; finished work is kept; run the same command again to resume"
NAPPING = """
import sys, time, types
import recast.jobs
from recast.jobs import cli
def run(*_):
    try:
        print('begun', flush=True)  # here, or the signal may come before there is anything to tidy up
        time.sleep(30)
    finally:
        print('tidying', flush=True)
        time.sleep({tidying})
sys.modules['recast.jobs.bulk'] = recast.jobs.bulk = types.SimpleNamespace(run_alone=run)
sys.argv = ['recast', 'upscale', 'in', 'out']
cli.main()
"""


@pytest.fixture
def started(tmp_path, request):
    """A run of 200 images, here or on a Ray of its own."""
    (tmp_path / "in").mkdir()
    for n in range(200):
        Image.new("RGB", (128, 128), (n, n, n)).save(tmp_path / f"in/{n}.png")
    model = upscaler(tmp_path / "bundle")
    words = ["upscale", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model, "--actors", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "recast", *words, "--shard-images", "1", "--on", request.param],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    yield process, tmp_path
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("started", "moment"), [("ray", "start"), ("ray", "middle"), ("here", "middle")], indirect=["started"]
)
def test_sigterm_ends_a_run_within_rays_grace(started, moment):
    """Status 143, one sentence, no core; and the lease is free, so that the next run needn't wait."""
    process, folder = started
    _until((folder / "out/lease.json").exists if moment == "start" else lambda: _shards(folder) > 1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == exit_status.TERMINATED
    assert time.monotonic() - began < 5  # 3 s of Ray's, and what a busy machine adds
    assert said.splitlines()[-1] == ENDED
    assert "Traceback" not in said
    assert "SIGTERM received" not in said
    assert not list(folder.glob("core*"))
    assert not (folder / "out" / in_hand.NAME).exists()


@pytest.fixture
def scratch():
    """A folder for temporary files with a short name, as Ray's sockets need it."""
    with tempfile.TemporaryDirectory(prefix="rt", dir="/tmp") as folder:
        yield Path(folder)


def test_sigterm_ends_a_training_and_the_same_command_goes_on(tmp_path, scratch):
    """Status 143 and one sentence, though Ray, while it waits, raises something else in its place."""
    write_facades(str(tmp_path / "in"), train=4, val=1, test=1, size_px=64)
    words = ["train", "pix2pix", "--data", str(tmp_path / "in/train"), "--output", str(tmp_path / "out"), "--preset"]
    process = subprocess.Popen(
        [sys.executable, "-m", "recast", *words, "demo", "--set", "size_px=64", "--workers", "1"],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert any("images/s" in line for line in process.stderr)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(timeout=30) == exit_status.TERMINATED
    finally:
        process.kill()
    took = time.monotonic() - began
    assert said.splitlines()[-1] == ENDED
    assert "Traceback" not in said
    assert json.loads((tmp_path / "out/run.json").read_text())["problem"] == "interrupted"
    if took < signals.GRACE_S:  # on a machine that is too busy for that, it is ended amid its tidying up
        assert json.loads((tmp_path / "out/lease.json").read_text())["released"]
        assert not {path.name for path in scratch.iterdir()} - {"ray", f"torchinductor_{getpass.getuser()}"}
    assert not _processes_of(process.pid)


def _processes_of(session):
    """What still runs of a session some seconds later, without what has ended and nobody has waited for."""
    deadline = time.monotonic() + 15
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, _, its = path.read_text().rpartition(")")[2].split()[:4]
                found += [path.parent.name] if int(its) == session and state != "Z" else []
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _shards(folder):
    return len(list(folder.glob("out/index/*.parquet")))


def _until(true):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def napping(tidying):
    process = subprocess.Popen(
        [sys.executable, "-c", NAPPING.format(tidying=tidying)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    return process


def test_whoever_is_not_done_with_tidying_up_ends_all_the_same():
    process = napping(tidying=30)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (exit_status.TERMINATED, f"{ENDED}\n")
    assert time.monotonic() - began < 10


def test_a_second_sigterm_changes_nothing_and_a_second_interrupt_ends_at_once():
    """Neither ends in a traceback."""
    process = napping(tidying=0.5)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[1] == f"{ENDED}\n"
    assert process.returncode == exit_status.TERMINATED
    process = napping(tidying=30)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert said.startswith("interrupted; ")
    assert "Traceback" not in said
    assert process.returncode == exit_status.INTERRUPTED


def test_what_is_said_after_an_interruption_is_true_of_the_command(monkeypatch, capsys):
    """The demo begins anew; of a command that has nothing to go on with, nothing is said."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(bulk, "run", interrupted)
    monkeypatch.setattr(demo, "run", interrupted)
    monkeypatch.setattr("recast.jobs.catalogue.listing", interrupted)
    told = {}
    for words in (["upscale", "in", "out"], ["demo"], ["models", "list"]):
        assert cli._status(words) == exit_status.INTERRUPTED
        told[words[0]] = capsys.readouterr().err.strip()
    assert told["upscale"].endswith("run the same command again to resume")
    assert told["demo"] == "interrupted; the same command begins the demo anew"
    assert told["models"] == "interrupted"


def test_a_process_that_ignores_interrupts_goes_on_ignoring_them():
    """As in the background of a shell that has no job control."""
    script = "from recast.jobs import signals; signals.listen(['upscale']); import signal; "
    script += "print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert done.stdout == "True\n"
