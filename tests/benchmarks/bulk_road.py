"""The model-bound bulk road against its ceiling, in one run: `python -m tests.benchmarks.bulk_road`.

The ceiling is as many bare processes at work at once as there are cores, each putting resident data through the
generator (resnet_9blocks, 256 px). The product is `pipeline.bulk.road.run`, JPEG files to shards; its start-up is left
out by running it on two archives of different sizes and taking the difference.
"""

import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data

from models.bundle import Bundle, write
from models.descriptor import Descriptor
from models.networks import NETWORKS
from pipeline import bundles, cluster
from pipeline.bulk import road
from pipeline.bulk.job import BulkJob
from pipeline.images.encode import Encoder
from pipeline.images.sources import Source

CORES = os.cpu_count() or 1
SIZE_PX = 256
FEW, MANY = 8, 72
FORWARDS = 24
"""Of each bare process."""


class Silent:
    """Nobody watches."""

    def planned(self, inputs: int, settled: int) -> None: ...
    def counts(self, ok: int, failed: int) -> None: ...
    def says(self, sentence: str) -> None: ...


def make_bundle(folder: Path) -> str:
    """A CycleGAN generator with fresh weights."""
    name = "resnet_generator"
    described = Bundle(
        name="benchmark",
        recipe="none",
        network=name,
        arguments={},
        descriptor=Descriptor(task="translate", value_range=(-1, 1), size_multiple=4),
    )
    write(described, NETWORKS[name](), folder)
    return str(folder)


def make_archive(count: int, folder: Path) -> str:
    """`count` different crops of a photograph as JPEG files."""
    folder.mkdir()
    photo = data.astronaut()
    for n in range(count):
        top, left = (n * 37) % (512 - SIZE_PX), (n * 53) % (512 - SIZE_PX)
        crop = np.ascontiguousarray(photo[top : top + SIZE_PX, left : left + SIZE_PX])
        Image.fromarray(crop).save(folder / f"{n:04d}.jpg", quality=92)
    return str(folder)


def bare_rate(bundle: str) -> float:
    """Images per second of forwards on resident data, in this process, by one thread."""
    torch.set_num_threads(1)
    _, network = bundles.fetch(bundle).unpack()
    images = torch.rand(1, 3, SIZE_PX, SIZE_PX)
    with torch.inference_mode():
        network(images)
        began = time.perf_counter()
        for _ in range(FORWARDS):
            network(images)
    return FORWARDS / (time.perf_counter() - began)


def ceiling(bundle: str) -> float:
    """Images per second of as many bare processes as cores, all at work at once."""
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(bare_rate, [bundle] * CORES))


def seconds(bundle: str, count: int, root: Path) -> float:
    """Of the bulk road over an archive of `count` images, start-up included."""
    source = Source(url=make_archive(count, root / f"in-{count}"))
    output = str(root / f"out-{count}")
    job = BulkJob(job="translate", source=source, output=output, model=bundle, encoder=Encoder(format="jpeg"))
    began = time.perf_counter()
    road.run(job, Silent())
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bundle = make_bundle(root / "bundle")
        before = ceiling(bundle)
        with cluster.connected():
            reached = (MANY - FEW) / (seconds(bundle, MANY, root) - seconds(bundle, FEW, root))
        possible = (before + ceiling(bundle)) / 2  # measured on both sides, since the machine is not ours alone
        print(f"model-bound: {reached:.2f} of {possible:.2f} images/s: {reached / possible:.2f} of the ceiling")


if __name__ == "__main__":
    main()
