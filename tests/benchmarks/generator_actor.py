"""The generator's actor against bare forwards, without Ray: `python -m tests.benchmarks.generator_actor [cuda|cpu]`.

For machines with an accelerator (it runs on a CPU too). The actor is the road's own `UnitWorker`: JPEG files in,
decoded, generated and encoded in their threads, shards out. Bare: batches of resident data through the same network in
the same precision. Then bf16's pixels against fp32's.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from recast.models.networks import NETWORKS
from recast.pipeline import bundles
from recast.pipeline.bulk.generator import DTYPES, Generator
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.network import BundlePayload
from recast.pipeline.bulk.operation import Result
from recast.pipeline.bulk.units import pack_unit
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.images.decode import decode
from recast.pipeline.images.encode import Encoder
from recast.pipeline.precision import Precision
from recast.pipeline.sources.inventory import Source, inventory
from tests.benchmarks.archives import SMALL_PX, make_archive, make_bundle

NETWORK = "resnet_generator"


def bare(device: str, precision: Precision, batch_size: int, count: int) -> float:
    """Images per second of forwards alone."""
    network = NETWORKS[NETWORK]().eval().to(device, memory_format=torch.channels_last)
    images = torch.rand(batch_size, 3, SMALL_PX, SMALL_PX, device=device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(device, DTYPES[precision], enabled=precision != "fp32"):
        for _ in range(3):
            network(images)
        synchronise(device)
        began = time.perf_counter()
        for _ in range(-(-count // batch_size)):
            network(images)
        synchronise(device)
    return -(-count // batch_size) * batch_size / (time.perf_counter() - began)


def actor(root: Path, archive: str, bundle: str, device: str, precision: Precision, batch_size: int) -> float:
    """Images per second of the actor, once it is warm."""
    job = BulkJob(
        job="translate", source=Source(urls=(archive,)), output=str(root / f"out-{precision}"), model=bundle,
        encoder=Encoder(format="jpeg"), precision=precision, batch_size=batch_size, shard_images=10**6,
        shard_bytes=1 << 40, max_pixels=10**9,
    )  # fmt: skip
    threads = 0 if device == "cpu" else max(1, (os.cpu_count() or 2) // 2)
    work = WorkerSettings(job=job, run="benchmark", model="m", device=device, threads=threads)
    operation = UnitWorker(work, BundlePayload(bundles.fetch(bundle)))
    items = list(inventory(job.source))
    operation(pack_unit(items[: 2 * batch_size]))
    began = time.perf_counter()
    operation(pack_unit(items))
    return len(items) / (time.perf_counter() - began)


def difference(archive: str, bundle: str, device: str, precision: Precision) -> np.ndarray:
    """Absolute differences from fp32's pixels."""
    pictures = [decode(path.read_bytes(), 10**9) for path in sorted(Path(archive).iterdir())[:8]]
    results = []
    for each in ("fp32", precision):
        described, network = bundles.fetch(bundle).unpack()
        generator = Generator(network, described.descriptor, device=device, precision=each, batch_size=1)
        made = [result for picture in pictures for result in generator([picture])]
        results.append(
            np.stack([m.picture.pixels.astype(np.int32) for m in made if isinstance(m, Result) and m.picture])
        )
    return np.abs(results[0] - results[1])


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda" if torch.cuda.is_available() else "cpu"
    count, batch_size = (2048, 16) if device == "cuda" else (24, 1)
    if device == "cpu":
        torch.set_num_threads(1)  # the road has an actor per core
    print(torch.cuda.get_device_name() if device == "cuda" else "CPU", torch.__version__)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        archive, bundle = make_archive(root / "in", count, SMALL_PX), make_bundle(root / "bundle", NETWORK)
        precisions: tuple[Precision, ...] = ("fp32", "bf16")
        for precision in precisions:
            before = bare(device, precision, batch_size, count)
            got = actor(root, archive, bundle, device, precision, batch_size)
            possible = (before + bare(device, precision, batch_size, count)) / 2
            print(
                f"{precision}: {got:.1f} of {possible:.1f} images/s: {got / possible:.2f} of bare forwards", flush=True
            )
        off = difference(archive, bundle, device, "bf16")
        print(f"bf16 differs from fp32 by {off.mean():.2f} of 255 on average, {off.max()} at most (random weights)")


if __name__ == "__main__":
    main()
