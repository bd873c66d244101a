"""What kills a training, again and again, and starts it again where it must."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from recast.pipeline.training.checkpoints import Checkpoints
from tests.conftest import TwoNodes

KILLS = int(os.environ.get("RECAST_TEST_KILLS", "3"))
"""In one training; the first three are a worker, the driver and a node."""

DRIVER = """
import sys
from recast.pipeline.training.road import train
from recast.pipeline.training.settings import TrainingSpec
train(TrainingSpec(**eval(sys.argv[1])))
"""


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
                if self.driver is not None and self.driver.returncode != -signal.SIGKILL:
                    assert self.driver.returncode == 0, f"the driver ended by itself after {self.deaths}"
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
