"""The bulk road against its ceiling, in one run: `python -m tests.benchmarks.bulk_road [model|codec]`.

The ceiling is as many bare processes at work at once as there are cores, on resident data: the generator's forward
alone when model-bound (resnet_9blocks, 256 px), decode and encode alone when codec-bound (a one-layer generator,
1-megapixel JPEGs). The product is `pipeline.bulk.run` from files to shards; its start-up is left out by running it on
two archives of different sizes and taking the difference.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
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
from pipeline import bulk, bundles, cluster
from pipeline.bulkjob import BulkJob
from pipeline.decode import decode
from pipeline.encode import Encoder
from pipeline.sources import Source

CORES = os.cpu_count() or 1
SIZES_PX = {"model": (256, 256), "codec": (1024, 1024)}
COUNTS = {"model": (8, 56), "codec": (40, 440)}
ENCODER = Encoder(format="jpeg")


class Silent:
    """Nobody watches."""

    def planned(self, inputs: int, settled: int) -> None: ...
    def counts(self, ok: int, failed: int) -> None: ...
    def says(self, sentence: str) -> None: ...


def make_bundle(kind: str, folder: Path) -> str:
    """A resnet_9blocks, or a generator that costs next to nothing."""
    name, arguments, halo = ("resnet_generator", {}, None) if kind == "model" else ("edsr", TRIVIAL, 5)
    descriptor = Descriptor(task="translate", value_range=(-1, 1) if halo is None else (0, 1), halo_px=halo)
    network = NETWORKS[name](**arguments)
    write(Bundle(name=kind, recipe="none", network=name, arguments=arguments, descriptor=descriptor), network, folder)
    return str(folder)


TRIVIAL = {"scale": 1, "channels": 1, "blocks": 0}


def make_archive(kind: str, count: int, folder: Path) -> str:
    """`count` different crops of a photograph as JPEG files."""
    folder.mkdir()
    photo = np.asarray(Image.fromarray(data.astronaut()).resize((1400, 1400)))
    height, width = SIZES_PX[kind]
    for n in range(count):
        top, left = (n * 37) % (1400 - height), (n * 53) % (1400 - width)
        Image.fromarray(photo[top : top + height, left : left + width]).save(folder / f"{n:04d}.jpg", quality=92)
    return str(folder)


def bare_forward(bundle: str, count: int) -> float:
    """Seconds of `count` forwards on resident data, in this process, by one thread."""
    torch.set_num_threads(1)
    _, network = bundles.fetch(bundle).unpack()
    images = torch.rand(1, 3, *SIZES_PX["model"])
    with torch.inference_mode():
        network(images)
        began = time.perf_counter()
        for _ in range(count):
            network(images)
    return time.perf_counter() - began


def bare_codec(folder: str, count: int) -> float:
    """Seconds of `count` decodes and encodes from memory, in this process, by one thread."""
    files = [path.read_bytes() for path in sorted(Path(folder).iterdir())[:count]]
    began = time.perf_counter()
    for file in files:
        ENCODER.encode(decode(file, 1 << 30))
    return time.perf_counter() - began


def ceiling(work: Callable[[str, int], float], url: str, count: int) -> float:
    """Images per second of as many bare processes as cores, all at work at once."""
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        seconds = list(pool.map(work, [url] * CORES, [count] * CORES))
    return sum(count / s for s in seconds)


def product(kind: str, bundle: str, root: Path) -> float:
    """Images per second of the bulk road, without its start-up."""
    seconds = []
    for count in COUNTS[kind]:
        source = make_archive(kind, count, root / f"in-{count}")
        job = BulkJob(
            job="translate", source=Source(url=source), output=str(root / f"out-{count}"), model=bundle, encoder=ENCODER
        )
        began = time.perf_counter()
        bulk.run(job, Silent())
        seconds.append(time.perf_counter() - began)
    few, many = COUNTS[kind]
    return (many - few) / (seconds[1] - seconds[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=["model", "codec"], choices=["model", "codec"])
    for kind in parser.parse_args().kinds:
        with tempfile.TemporaryDirectory() as folder, cluster.connected():
            root = Path(folder)
            bundle = make_bundle(kind, root / "bundle")
            reached = product(kind, bundle, root)
            work, url = (bare_forward, bundle) if kind == "model" else (bare_codec, str(root / f"in-{COUNTS[kind][1]}"))
            possible = ceiling(work, url, 16 if kind == "model" else 150)
            print(f"{kind}-bound: {reached:.2f} of {possible:.2f} images/s: {reached / possible:.2f} of the ceiling")


if __name__ == "__main__":
    main()
