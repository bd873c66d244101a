"""The invariants of the output under fire: whatever is killed, and whenever, the view ends as if nothing had been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
from PIL import Image

from recast.jobs import cli
from recast.pipeline import storage
from recast.pipeline.bulk import road
from recast.pipeline.deidentify.secrets.seal import Secret, opened, read_lock
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output import in_hand
from recast.pipeline.output.index import current
from recast.pipeline.output.sidecars import SEALS, read_sidecars, stems_with_sidecars
from recast.pipeline.progress import Silent
from tests.conftest import bulk_runs_here
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_road import job

INPUTS = 100
KILLS = int(os.environ.get("RECAST_TEST_KILLS", "3"))
"""Of each run under fire."""
PASSCODE = "a passcode for a run under fire"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Slow enough that a run of it can be killed several times."""
    return upscaler(tmp_path_factory.mktemp("bundle"), channels=32, blocks=16)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes, and some that are none."""
    folder = tmp_path_factory.mktemp("in")
    rng = np.random.default_rng(0)
    for n in range(INPUTS):
        size = (int(rng.integers(8, 200)), int(rng.integers(8, 200)), 3)
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(folder / f"{n:03}.png")
    for n in range(0, INPUTS, 20):
        (folder / f"{n:03}.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def calm(source: Path, model: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple]:
    """The view of a run that nobody disturbs, and nothing can: all of it is in this process."""
    output = tmp_path_factory.mktemp("calm") / "out"
    with bulk_runs_here():
        road.run(job(source, output, model, shard_images=5), Silent())
    return settled(str(output))


@pytest.fixture(scope="module")
def sealing(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How a de-identification is asked for that seals what it blackens: a box in every image."""
    folder = tmp_path_factory.mktemp("sealing")
    boxes = {path.name: [{"box": [1, 1, 6, 7]}] for path in source.glob("*.png")}
    (folder / "boxes.json").write_text(json.dumps(boxes))
    (folder / "passcode").write_text(PASSCODE)
    return ["--detector", "none", "--boxes", str(folder / "boxes.json"), "--seal",
            "--passcode-file", str(folder / "passcode")]  # fmt: skip


@pytest.fixture(scope="module")
def calm_and_sealed(source, sealing, tmp_path_factory) -> dict[str, tuple]:
    output = tmp_path_factory.mktemp("calm-sealed") / "out"
    with bulk_runs_here():
        assert cli._status(["deidentify", str(source), str(output), *sealing]) == 0
    return settled(str(output))


def unsealed(output: str) -> dict[str, np.ndarray]:
    """What every seal of an output opens to, by key."""
    fs, path = storage.filesystem(output)
    key = read_lock(fs, path).key(Secret(PASSCODE.encode()))
    published = {row["key"]: row["sha256"] for row in current(fs, path, ["key", "sha256"]).to_pylist()}
    return {
        seal["key"]: opened(key, seal["key"], published[seal["key"]], tuple(seal["box"]), seal["sealed"]).pixels
        for stem in stems_with_sidecars(fs, path, SEALS)
        for seal in read_sidecars(fs, path, SEALS, stem)
    }


def settled(output: str) -> dict[str, tuple]:
    fs, path = storage.filesystem(output)
    columns = ["key", "status", "error", "fingerprint", "sha256", "width", "height"]
    rows = current(fs, path, columns).to_pylist()
    assert len({r["key"] for r in rows}) == len(rows)
    return {row["key"]: tuple(row.values()) for row in rows}


def orphans(output: str) -> set[str]:
    """Shards without a fragment; a fragment of failed rows alone has no shard."""
    fs, path = storage.filesystem(output)
    shards, fragments = (storage.sizes(fs, storage.join(path, part)) for part in ("shards", "index"))
    return {s.rsplit(".", 1)[0] for s in shards} - {f.removesuffix(".parquet").removesuffix(".tar") for f in fragments}


Act = Callable[[subprocess.Popen], bool]
"""Kills something of a run, and says whether it did."""


class Victims:
    """What can be killed while a run is under way."""

    def __init__(self, nodes) -> None:
        self._nodes = nodes
        self.deaths: list[str] = []

    def actor(self, run: subprocess.Popen) -> bool:
        """Kill one, if there is one."""
        found = [p for p in psutil.process_iter(["cmdline"]) if "MapBatches" in " ".join(p.info["cmdline"] or [])]
        mine = [p for p in found if self._nodes.owns(p)]
        if mine:
            random.choice(mine).kill()
            self.deaths.append("actor")
        return bool(mine)

    def node(self, run: subprocess.Popen) -> bool:
        self._nodes.kill_worker_node()
        self._nodes.add_worker_node()
        self.deaths.append("node")
        return True

    def driver(self, run: subprocess.Popen) -> bool:
        """Kill it, if it has not just ended by itself."""
        os.killpg(run.pid, signal.SIGKILL)
        killed = run.wait() == -signal.SIGKILL
        if killed:
            self.deaths.append("driver")
        return killed


@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", ["disk", "s3"])
def test_actors_nodes_and_drivers_killed_at_random_cost_nothing_but_time(
    place, source, model, calm, sealing, calm_and_sealed, tmp_path, request, ray_cluster_two_nodes
):
    """Upscaling to disk; de-identification that seals, over a real object store."""
    root = str(tmp_path) if place == "disk" else request.getfixturevalue("bucket")
    ray.shutdown()
    what, how = ["upscale", str(source)], ["--model", model, "--max-failed", "1"]
    if place == "s3":
        what, how = ["deidentify", str(source)], sealing
    victims = Victims(ray_cluster_two_nodes)
    random.seed(place)
    each = [victims.actor, victims.driver, victims.node]
    acts = [*random.choices(each, k=KILLS - len(each)), *random.sample(each, k=len(each))]  # the last are done first
    outputs, deadline = [], time.monotonic() + 840
    while acts:  # a run may end before the last of them: while a lost node is replaced, the others go on
        outputs.append(f"{root}/out-{len(outputs)}")
        command = [sys.executable, "-m", "recast", *what, outputs[-1], *how, "--shard-images", "3", "--actors", "3"]
        finish_under_fire(command, outputs[-1], acts, ray_cluster_two_nodes.address, deadline)
    assert {"actor", "driver", "node"} <= set(victims.deaths)
    for output in outputs:
        assert settled(output) == (calm if place == "disk" else calm_and_sealed)
        if place == "s3":
            assert_sealed_originals_come_back(output, source, calm_and_sealed)
        assert verify(output).faults == []
        assert orphans(output) == set()


def finish_under_fire(command: list[str], output: str, acts: list[Act], address: str, deadline: float) -> None:
    """Run a command until it ends well, however often; kill as `acts` say, from the last, and take off what is done."""
    environment = {**os.environ, "RAY_ADDRESS": address}
    run, settled_before = None, 0
    while run is None or run.poll() != 0:
        assert time.monotonic() < deadline
        if run is None or run.returncode is not None:
            run = subprocess.Popen(command, start_new_session=True, env=environment)
        time.sleep(random.uniform(0, 0.5))
        if acts and fragments(output) > settled_before:  # the pace is the work's, on any machine
            if acts[-1](run):
                acts.pop()
            settled_before = fragments(output)


def assert_sealed_originals_come_back(output: str, source: Path, calm_and_sealed: dict[str, tuple]) -> None:
    back = unsealed(output)
    assert set(back) == {key for key, row in calm_and_sealed.items() if row[1] == "ok"}
    for key, pixels in back.items():
        original = np.asarray(Image.open(source / key))[: pixels.shape[0], : pixels.shape[1]]  # from the corner on
        assert np.array_equal(pixels, original)


def fragments(output: str) -> int:
    """How much has been committed."""
    fs, path = storage.filesystem(output)
    return len(storage.sizes(fs, storage.join(path, "index")))


class Told(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def says(self, sentence: str) -> None:
        self.sentences.append(sentence)


POISON = b"POISON"


@pytest.fixture
def poisoned_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray whose workers die, at once and without a word, when they open certain bytes: a decoder that crashes."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, signal\n"
        "import PIL.Image\n"
        "opened = PIL.Image.open\n"
        "def open_or_die(file, *rest, **more):\n"
        f"    if hasattr(file, 'getbuffer') and bytes(file.getbuffer()[:{len(POISON)}]) == {POISON!r}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return opened(file, *rest, **more)\n"
        "PIL.Image.open = open_or_die\n"
    )
    ray.shutdown()
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    yield
    ray.shutdown()


def test_an_image_that_kills_its_process_gets_a_row_and_harms_no_other(tmp_path, model, poisoned_ray):
    """A run in one process dies of it, and leaves a note; the next one begins on Ray, whose workers can be blamed."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(12):
        Image.fromarray(np.full((9, 9, 3), n, np.uint8)).save(folder / f"{n:02}.png")
    (folder / "05.png").write_bytes(POISON)
    command = [sys.executable, "-m", "recast", "upscale", folder, tmp_path / "out", "--model", model]
    died = subprocess.run(command, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL
    assert died.stderr.startswith("upscale: in this process")
    assert in_hand.left_behind(*storage.filesystem(str(tmp_path / "out"))) == "05.png"
    said = Told()
    summary = road.run(job(folder, tmp_path / "out", model), said)
    assert said.sentences[0] == "upscale: on Ray, since a process that had 05.png in hand died"
    assert (summary.settled_before, summary.ok, summary.failed) == (4, 7, 1)  # a unit was done before it died
    assert in_hand.left_behind(*storage.filesystem(str(tmp_path / "out"))) == ""
    rows = settled(str(tmp_path / "out"))
    assert rows["05.png"][2].startswith("crash: ")
    assert verify(str(tmp_path / "out")).faults == []
    assert road.run(job(folder, tmp_path / "out", model), Silent()).settled_before == 12
