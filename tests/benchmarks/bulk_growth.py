"""What a driver can feed, and what that makes of large clusters: `python -m tests.benchmarks.bulk_growth [WORKERS…]`.

Clusters of 2 to 32 workers on this machine, on several Ray nodes, whose generator sleeps, as a process does that waits
for its accelerator: so the workers' own speed is known, and what is missing from it is the road's. Units are of four
inputs, so that 32 workers finish as many units in a second as a cluster does that makes 250 times as many images.

Then a simulation goes on with what was measured, to 10^6 and 10^8 inputs: legs of the plan, one after the other, each
planned, mapped and waited for, with the driver's time for each unit and each input.
"""

import dataclasses
import heapq
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import ray
from PIL import Image
from ray.cluster_utils import Cluster

from recast.pipeline import storage
from recast.pipeline.bulk import road
from recast.pipeline.bulk.job import BulkJob, Summary
from recast.pipeline.bulk.operation import Operation
from recast.pipeline.bulk.units import CHUNK_INPUTS
from recast.pipeline.images.pictures import Picture
from recast.pipeline.output.index import current
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import Source
from tests.benchmarks.bulk_road import Silent

NODE_CPUS = 4
UNIT_INPUTS = 4
SLEEP_S = 0.25
"""Of the generator, for an image."""
EACH_S = 20.0
"""How long each cluster has to do."""
PLANNING_S = 14e-6
"""For an input, by `bulk_planning`."""
SHARD_INPUTS = 1000
GPU_IMAGES_S = 20.0
"""An assumption for the simulation: a generator of some hundred GFLOP on a large card."""


class SleepingKit:
    """A generator that takes its time and gives back what it gets."""

    seal_key = None

    def operator(self, work: object) -> "SleepingKit":
        return self

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Picture]:
        time.sleep(SLEEP_S * len(pictures))
        return list(pictures)


@dataclasses.dataclass(frozen=True)
class Measured:
    share: float
    """Of the images that the workers' generators could have made while there was work."""
    unit_cpu_s: float
    """CPU time of the driver for a unit."""
    control_cpu_s: float
    """CPU time of Ray's own processes on the head (GCS, raylet) for a unit."""


def measure(workers: int, folder: Path) -> Measured:
    """A run on a cluster of so many workers, once warm."""
    nodes = -(-workers // (2 * NODE_CPUS))
    cluster = Cluster(initialize_head=True, head_node_args={"node_ip_address": "127.0.0.2", **_node()})
    for n in range(1, nodes):
        cluster.add_node(node_ip_address=f"127.0.0.{2 + n}", **_node())
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        images = int(workers * EACH_S / SLEEP_S)
        source = folder / f"in-{workers}"
        source.mkdir()
        tiny = folder / "tiny.png"
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tiny)
        for n in range(images):
            (source / f"{n:06}.png").hardlink_to(tiny)
        driver, control = psutil.Process(), _control()
        before = _cpu(driver), sum(map(_cpu, control))
        summary = _run(source, folder / f"out-{workers}", workers)
        spent = _cpu(driver) - before[0], sum(map(_cpu, control)) - before[1]
        busy = _working_seconds(folder / f"out-{workers}")
        units = summary.shards
        assert summary.ok == images
        return Measured(images * SLEEP_S / workers / busy, spent[0] / units, spent[1] / units)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _node() -> dict[str, object]:
    return {"num_cpus": NODE_CPUS, "object_store_memory": 100 << 20, "include_dashboard": False}


def _run(source: Path, output: Path, workers: int) -> Summary:
    job = BulkJob(
        job="translate", source=Source(urls=(str(source),)), output=str(output), model="", actors=workers,
        shard_images=UNIT_INPUTS,
    )  # fmt: skip
    return road.run(job, Silent(), Operation("sleeping", "sha256:0", "", SleepingKit))


def _working_seconds(output: Path) -> float:
    """From when the first row was settled to when the last was: without the start of workers."""
    fs, path = storage.filesystem(str(output))
    times = sorted(current(fs, path, ["finished_at"])["finished_at"].to_pylist())
    return (times[-1] - times[0]).total_seconds() + SLEEP_S


def _control() -> list[psutil.Process]:
    names = ("gcs_server", "raylet")
    return [p for p in psutil.Process().children(recursive=True) if p.name() in names]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@dataclasses.dataclass(frozen=True)
class Law:
    """What the simulation goes by."""

    unit_s: float
    """Of the driver, for a unit: it is one process."""
    start_s: float = 30.0
    """Until the first unit of a leg is with a warm worker."""

    def seconds(self, inputs: int, gpus: int) -> float:
        """Legs one after the other; in each, planning, then units to whichever worker is free, then the last to end."""
        seconds, left = self.start_s, inputs
        unit_s = SHARD_INPUTS / GPU_IMAGES_S
        while left:
            chunk = min(left, CHUNK_INPUTS)
            units = -(-chunk // min(SHARD_INPUTS, max(4, -(-chunk // (6 * gpus)))))
            each = unit_s * chunk / units / SHARD_INPUTS
            seconds += PLANNING_S * chunk + self._leg(units, each, gpus)
            left -= chunk
        return seconds

    def _leg(self, units: int, each_s: float, gpus: int) -> float:
        """The driver hands out one unit after the other; a worker takes the next when it is done."""
        free, handed, ended = [0.0] * min(gpus, units), 0.0, 0.0
        for _ in range(units):
            handed += self.unit_s
            ends = max(heapq.heappop(free), handed) + each_s
            ended = max(ended, ends)
            heapq.heappush(free, ends)
        return ended


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]] or [2, 4, 8, 16, 32]
    with tempfile.TemporaryDirectory() as name:
        for workers in counts:
            m = measure(workers, Path(name))
            print(
                f"{workers:3} workers: {m.share:.2f} of what they could do; for a unit {m.unit_cpu_s * 1e3:.1f} ms of "
                f"the driver's CPU, {m.control_cpu_s * 1e3:.1f} ms of Ray's",
                flush=True,
            )
    law = Law(m.unit_cpu_s)
    print(f"a driver feeds {1 / law.unit_s:.0f} units/s, {SHARD_INPUTS / law.unit_s:,.0f} images/s in shards of 1,000")
    for inputs in (10**6, 10**8):
        for gpus in (1, 10, 100, 1000):
            seconds = law.seconds(inputs, gpus)
            ideal = inputs / GPU_IMAGES_S / gpus
            of = f"{seconds / 3600:9.2f} h, {ideal / seconds:.2f} of ideal"
            print(f"10^{len(str(inputs)) - 1} inputs on {gpus:5,} GPUs: {of}")


if __name__ == "__main__":
    main()
