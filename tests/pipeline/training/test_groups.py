"""Groups of workers are replaced whatever kills them, and shrink and grow with the cluster."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image
from ray.train import ControllerError
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

from recast.pipeline import cluster
from recast.pipeline.training import groups, on_ray, road
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.progress import TrainingFacts
from recast.pipeline.training.settings import TrainingError, TrainingSpec


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        coarse = Image.fromarray(np.random.default_rng(number).integers(0, 255, (12, 14, 3), np.uint8))
        coarse.resize((140, 120), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def settings(photos, output, **changes):
    usual = {
        "recipe": "srresnet", "preset": "tiny", "data": str(photos), "output": str(output), "steps": 10,
        "workers": 2, "threads_per_worker": 1, "checkpoint_every": 5, "log_every": 5, "sample_rows": 1,
    }  # fmt: skip
    return usual | changes


@dataclass
class Deadly(TorchConfig):
    """Kills a worker while its group starts, before anything of ours runs in it, as often as lives are left."""

    lives: str = ""
    """A folder with a file for each."""

    @property
    def backend_cls(self):
        return _DeadlyBackend


class _DeadlyBackend(_TorchBackend):
    def on_start(self, worker_group, backend_config):
        if left := sorted(Path(backend_config.lives).iterdir()):
            left[0].unlink()
            worker_group.execute_single(0, _die)
        super().on_start(worker_group, backend_config)


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(480)
def test_a_group_that_dies_while_it_starts_leaves_no_claims(ray_local, photos, tmp_path, monkeypatch):
    """Ray Train forgets what such a group claimed: the next one would find no CPU to read examples with."""
    lives, asked = tmp_path / "lives", settings(photos, tmp_path / "out")
    lives.mkdir()
    (lives / "one").touch()
    monkeypatch.setattr(on_ray, "TorchConfig", lambda backend: Deadly(backend=backend, lives=str(lives)))
    assert road.train(TrainingSpec(**asked)).steps == asked["steps"]
    assert not list(lives.iterdir())
    assert cluster.placement_groups() == set()


class Doomed:
    """A trainer whose workers are lost, each time at the same step."""

    def fit(self):
        raise ControllerError(RuntimeError("a worker\nwas taken away"))


def test_losses_without_progress_end_a_training_and_say_why(ray_local, photos, tmp_path):
    watch = ray.remote(TrainingFacts).remote()
    asked = TrainingSpec(**settings(photos, tmp_path / "out", max_failures=2))
    with pytest.raises(TrainingError, match="workers failed 3 times .* another checkpoint. The last: was taken away"):
        groups.fit_through_losses(lambda scratch: Doomed(), asked, watch)
    watch.tell.remote({"fault": "no space left on device"})
    with pytest.raises(TrainingError, match="The last: no space left on device"):
        groups.fit_through_losses(lambda scratch: Doomed(), asked, watch)


SEATED = """
import dataclasses
import sys
from recast.pipeline.training import groups
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.road import train

def scaling(plan):
    each = {"CPU": 0.5, "seat": 1.0}
    return dataclasses.replace(real(plan), resources_per_worker=each, elastic_resize_monitor_interval_s=2)

real, groups.scaling = groups.scaling, scaling
train(TrainingSpec(**eval(sys.argv[1])))
"""
"""A training whose workers take a seat each, of which a node has one: seats stand for GPUs."""


@pytest.mark.timeout(600)
def test_groups_shrink_and_grow_with_the_cluster(photos, tmp_path, ray_cluster_two_nodes):
    """Two workers, one when a node is lost, two again when one comes; each goes on from the last checkpoint."""
    nodes, checkpoints = ray_cluster_two_nodes, Checkpoints(str(tmp_path / "out"))
    asked = settings(photos, tmp_path / "out", least_workers=1, steps=1_000_000)
    command = [sys.executable, "-c", SEATED, repr(asked)]
    # Ray Train may not know yet of a lost node when it asks for a new group: so long it waits for that one's seats.
    environment = {"RAY_ADDRESS": nodes.address, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "8"}
    driver = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)
    try:
        reached = [_first_step_with(2, checkpoints, driver)]
        nodes.kill_worker_node()
        reached.append(_first_step_with(1, checkpoints, driver))
        nodes.add_worker_node()
        reached.append(_first_step_with(2, checkpoints, driver))
        assert reached == sorted(set(reached))
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


def _first_step_with(workers, checkpoints, driver):
    while True:
        assert driver.poll() is None
        steps = checkpoints.steps()
        with contextlib.suppress(TrainingError, FileNotFoundError):  # old ones are removed meanwhile
            if steps and checkpoints.load(steps[-1])["workers"] == workers:
                return steps[-1]
        time.sleep(0.5)
