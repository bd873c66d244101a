"""A bulk run in the driver's own process: the same results as on Ray, and Ray as soon as that is sooner done."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from recast.models.networks import NETWORKS
from recast.pipeline import cluster, storage
from recast.pipeline.bulk import pool, road, workforce
from recast.pipeline.bulk.here import CLUSTER_START_S, MOST_HERE_S, Here, Pace
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output import in_hand
from recast.pipeline.progress import Silent
from tests.pipeline.bulk.bundle_operation import segmenter, upscaler
from tests.pipeline.bulk.test_road import image, job, view
from tests.pipeline.protocol.simulation import OneWorker


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return upscaler(tmp_path_factory.mktemp("bundle"), channels=16, blocks=2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for n in range(20):
        image(tmp_path / "in" / f"{n:02}.png", n, (20 + n, 16))
    (tmp_path / "in/empty.jpg").touch()
    return tmp_path / "in"


class Watching(Silent):
    """Keeps what a run says, and how far it has come."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.done: list[int] = []

    def says(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def reached(self, done: int, facts: Any) -> None:
        self.done.append(done)


def test_rows_and_bytes_are_the_same_here_and_on_ray(source, model, tmp_path, ray_local):
    ends = {}
    for on in ("ray", "here"):
        watching = Watching()
        road.run(job(source, tmp_path / on, model, on=on, shard_images=5), watching)
        assert watching.sentences[0] == f"upscale: {'on Ray' if on == 'ray' else 'in this process'}, as --on says"
        assert watching.done[-1] <= 21
        ends[on] = view(tmp_path / on)
    assert ends["ray"] == ends["here"]
    assert len(ends["here"]) == 21
    assert verify(str(tmp_path / "here")).faults == []
    assert not (tmp_path / "here" / in_hand.NAME).exists()


class PooledHere(OneWorker):
    """In place of a pool on Ray, one that keeps how it was told of what was done before."""

    counts: dict[str, int] = {}  # noqa: RUF012  # the test looks at the only one

    def add(self, counts: Any) -> None:
        PooledHere.counts = dict(counts)

    def map(self, settings: Any, units: Any) -> Iterator[dict[str, Any]]:
        return super().map(settings, list(units))


@pytest.mark.parametrize("after", [0, 1, 7, 20, 21])
def test_what_is_left_when_a_cluster_would_be_sooner_goes_there(after, source, model, tmp_path, monkeypatch):
    """Wherever the work is cut, every input ends in one row, and none is done twice."""
    monkeypatch.setattr(workforce, "where", lambda job, left_behind: (False, "here"))
    monkeypatch.setattr(pool, "Pool", PooledHere)
    monkeypatch.setattr(cluster, "connected", contextlib.nullcontext)
    monkeypatch.setattr(Here, "_enough", lambda here: here._settled() >= after)
    monkeypatch.setattr("recast.pipeline.bulk.tally.SEND_EVERY_S", -1.0)
    summary = road.run(job(source, tmp_path / "out", model, shard_images=50), watching := Watching())
    assert (summary.ok, summary.failed) == (20, 1)
    assert len(view(tmp_path / "out")) == 21
    assert verify(str(tmp_path / "out")).faults == []
    handed = [sentence for sentence in watching.sentences if "on Ray from here on" in sentence]
    assert len(handed) == (after < 21)
    assert sum(PooledHere.counts.get(status, 0) for status in ("ok", "failed")) <= 21


def test_the_pace_decides_and_the_first_image_is_no_measure(monkeypatch):
    now = 0.0
    monkeypatch.setattr("recast.pipeline.bulk.here.time.monotonic", lambda: now)
    pace = Pace(workers=2)
    now = 30.0
    pace.note(1)  # libraries warm up
    assert not pace.sooner_elsewhere(10**6)
    now = 31.0
    pace.note(2)
    assert pace.seconds_each() == 1.0
    assert not pace.sooner_elsewhere(int(2 * CLUSTER_START_S) - 1)
    assert pace.sooner_elsewhere(int(2 * CLUSTER_START_S) + 1)
    alone = Pace(workers=1)
    now = 0.0
    alone.note(1)
    now = 1.0
    alone.note(2)
    assert not alone.sooner_elsewhere(int(MOST_HERE_S) - 1)
    assert alone.sooner_elsewhere(int(MOST_HERE_S) + 1)


@pytest.mark.parametrize(
    ("on", "address", "left", "begins"),
    [
        (None, "", "", "in this process, until"),
        (None, "local", "", "in this process, until"),
        (None, "10.0.0.1:6379", "", "on Ray, on the cluster that RAY_ADDRESS names, 10.0.0.1:6379"),
        (None, "", "a.png", "on Ray, since a process that had a.png in hand died"),
        ("here", "10.0.0.1:6379", "a.png", "in this process, as --on says"),
        ("ray", "", "", "on Ray, as --on says"),
    ],
)
def test_where_a_run_begins_and_why(on, address, left, begins, monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", address)
    on_ray, why = workforce.where(job("in", "out", "", on=on), left)
    assert why.startswith(begins)
    assert on_ray == begins.startswith("on Ray")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"key": 3}', '{"run": "r"}'])
def test_a_note_that_says_nothing_is_a_note_still(text, tmp_path):
    (tmp_path / in_hand.NAME).write_text(text)
    assert in_hand.left_behind(*storage.filesystem(str(tmp_path))) == in_hand.UNKNOWN


@pytest.mark.parametrize("job", ["upscale", "deidentify", "annotate"])
def test_a_few_images_need_no_ray_and_nothing_to_do_needs_no_torch(job, source, model, tmp_path):
    """What is imported decides how soon a command answers; a module here, a second there."""
    looked = (
        "import json, sys\n"
        "from recast.jobs import cli\n"
        "status = cli._status(sys.argv[1:])\n"
        "heavy = ('ray', 's3fs', 'botocore', 'duckdb', 'tensorboard', 'scipy', 'torch')\n"
        "print(json.dumps([status, [name for name in heavy if name in sys.modules]]))\n"
    )
    looking = segmenter(tmp_path / "segmenter", "person") if job == "annotate" else model
    settings = ["--method", "solid"] if job == "deidentify" else ["--model", looking]
    command = [sys.executable, "-c", looked, job, source, tmp_path / "out", *settings, "--max-failed", "1"]
    for expected in (["torch"], []):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout.splitlines()[-1]) == [0, expected]


def arguments(name: str) -> dict[str, Any]:
    return {"blocks": 1} if name == "rrdb" else {"scale": 2} if name in ("edsr", "srvgg", "srresnet") else {}


@pytest.mark.parametrize("name", [name for name, kind in NETWORKS.items() if getattr(kind, "any_threads", False)])
@pytest.mark.parametrize("size", [(40, 56), (131, 96)])
def test_networks_that_say_so_give_the_same_bits_with_any_number_of_threads(name, size):
    torch.manual_seed(0)
    network = NETWORKS[name](**arguments(name)).eval().to(memory_format=torch.channels_last)
    before, results = torch.get_num_threads(), []
    pixels = torch.rand(1, 3, *size).contiguous(memory_format=torch.channels_last)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.inference_mode():
                results.append(network(pixels))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_as_many_threads_as_one_has_cores_only_where_the_bits_are_the_same(tmp_path, source, model):
    """The worker of a run in this process, and afterwards the number of threads is as before."""
    before = torch.get_num_threads()
    road.run(job(source, tmp_path / "out", model, on="here"), Silent())
    assert torch.get_num_threads() == before
