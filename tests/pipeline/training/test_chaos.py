"""A training under fire: workers, drivers and nodes killed at random cost time, and not a bit of the weights."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil
import pytest
import ray
import torch
from PIL import Image

from pipeline import bundles
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.plan import TrainingPlan
from pipeline.training.road import train
from tests.conftest import TwoNodes
from tests.pipeline.training.states import flattened

KILLS = int(os.environ.get("RECAST_TEST_KILLS", "3"))
"""In one training; the first three are a worker, the driver and a node."""
STEPS = 60 * KILLS
WORKERS = 2

DRIVER = """
import sys
from pipeline.training.road import train
from pipeline.training.plan import TrainingPlan
train(TrainingPlan(**eval(sys.argv[1])), quiet=True)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 14, 3), np.uint8)
        Image.fromarray(pixels).resize((140, 120), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return str(folder)


def plan(photos: str, output: str, **changes) -> dict:
    settings = {
        "recipe": "srresnet", "preset": "tiny", "data": photos, "output": output, "steps": STEPS, "workers": WORKERS,
        "overrides": {"ema_decay": 0.9}, "checkpoint_every": 5, "log_every": 5, "sample_rows": 2,
    }  # fmt: skip
    return settings | changes


class Fire:
    """A training in a process of its own, started again whenever it was killed, and what can be killed of it."""

    def __init__(self, nodes: TwoNodes, asked: dict) -> None:
        self.nodes, self.asked, self.deaths = nodes, asked, []
        self.driver: subprocess.Popen | None = None

    def burn(self, seconds: float) -> None:
        kinds: list[Callable[[], bool]] = [self.worker, self.kill_driver, self.node]
        acts = random.sample(kinds, k=3) + random.choices(kinds, k=max(0, KILLS - 3))
        reached, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.driver is None or self.driver.poll() is not None:
                if self.driver is not None and self.driver.returncode == 0:
                    return
                self.start()
            now = max(Checkpoints(self.asked["output"]).steps(), default=0)
            if len(self.deaths) < KILLS and now > reached:  # the pace is the training's, on any machine
                time.sleep(random.uniform(0, 0.3))
                if acts[len(self.deaths)]():
                    self.deaths.append(acts[len(self.deaths)].__name__)
                    reached = max(Checkpoints(self.asked["output"]).steps())
            time.sleep(0.05)
        raise AssertionError(f"not done after {seconds} s and {self.deaths}")

    def start(self) -> None:
        self.driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, repr(self.asked)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "RAY_ADDRESS": self.nodes.address},
        )  # fmt: skip

    def worker(self) -> bool:
        found = [p for p in psutil.process_iter(["cmdline"]) if "RayTrainWorker" in " ".join(p.info["cmdline"] or [])]
        mine = [p for p in found if self.nodes.owns(p)]
        if mine:
            random.choice(mine).kill()
        return bool(mine)

    def kill_driver(self) -> bool:
        os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()
        return True

    def node(self) -> bool:
        self.nodes.kill_worker_node()
        self.nodes.add_worker_node()
        return True


@pytest.mark.timeout(120 + 60 * KILLS)
def test_weights_end_bit_for_bit_the_same_whatever_was_killed(photos, bucket, tmp_path, ray_cluster_two_nodes):
    """Where a second run takes over is a matter of luck, where it ends is not."""
    ray.shutdown()
    fire = Fire(ray_cluster_two_nodes, plan(photos, f"{bucket}/trained"))
    fire.burn(60 + 60 * KILLS)
    assert len(fire.deaths) == KILLS
    assert {"worker", "kill_driver", "node"} <= set(fire.deaths)
    with ray.init(address=ray_cluster_two_nodes.address, log_to_driver=False):
        train(TrainingPlan(**plan(photos, str(tmp_path), checkpoint_every=STEPS)), quiet=True)
    burnt, undisturbed = (Checkpoints(output).load(STEPS) for output in (f"{bucket}/trained", str(tmp_path)))
    for part in ("networks", "optimizers", "averaged"):
        one, other = flattened(burnt[part]), flattened(undisturbed[part])
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert bundles.describe(f"{bucket}/trained/bundle").training["step"] == STEPS
