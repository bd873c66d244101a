"""The bulk road against its ceilings, in one run: `python -m tests.benchmarks.bulk_road [model] [codec]`.

A ceiling is as many bare processes at work at once as there are cores. Model-bound: each puts resident data through the
generator (resnet_9blocks, 256 px). Codec-bound: each decodes and encodes 1-megapixel JPEGs, with Pillow, as most
programs do, and with the codecs that the road uses. The product is `recast.pipeline.bulk.road.run`, JPEG to shards; its
start-up is left out by running it on two archives of different sizes and taking the difference.
"""

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recast.pipeline import bundles, cluster
from recast.pipeline.bulk import road
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.images.decode import decode
from recast.pipeline.images.encode import Encoder, Format
from recast.pipeline.precision import Precision
from recast.pipeline.progress import Silent
from recast.pipeline.sources.inventory import Source
from tests.benchmarks.archives import LARGE_PX, QUALITY, SMALL_PX, make_archive, make_bundle

CORES = os.cpu_count() or 1


def forwards(bundle: str, count: int) -> float:
    """Images per second of forwards on resident data, in this process, by one thread."""
    torch.set_num_threads(1)
    _, network = bundles.fetch(bundle).unpack()
    network = network.to(memory_format=torch.channels_last)  # the faster layout: a ceiling is the best that is known
    images = torch.rand(1, 3, SMALL_PX, SMALL_PX).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(images)
        return rate(lambda: network(images), count)


def pillow_codecs(folder: str, count: int) -> float:
    """Images per second of Pillow's decoding and encoding, in this process."""

    def once(file: bytes) -> None:
        pixels = np.asarray(Image.open(io.BytesIO(file)))
        Image.fromarray(pixels).save(io.BytesIO(), "JPEG", quality=QUALITY, subsampling=0)

    return over_files(folder, count, once)


def own_codecs(folder: str, count: int) -> float:
    """Likewise, of the functions that the road calls."""
    encoder = Encoder(format="jpeg", quality=QUALITY)
    return over_files(folder, count, lambda file: encoder.encode(decode(file, 10**9)))


def over_files(folder: str, count: int, work: Callable[[bytes], object]) -> float:
    files = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    left = iter(files * (count // len(files) + 2))
    work(next(left))
    return rate(lambda: work(next(left)), count)


def rate(work: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - began)


def ceiling(bare: Callable[[str, int], float], place: str, count: int) -> float:
    """Images per second of as many bare processes as cores, all at work at once."""
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(bare, [place] * CORES, [count] * CORES))


def seconds(
    bundle: str, archive: str, output: Path | str, *, format: Format = "jpeg", precision: Precision = "fp32"
) -> float:
    """Of the bulk road over an archive, start-up included."""
    job = BulkJob(
        job="translate", source=Source(urls=(archive,)), output=str(output), model=bundle, precision=precision,
        encoder=Encoder(format=format, quality=QUALITY),
    )  # fmt: skip
    began = time.perf_counter()
    road.run(job, Silent())
    return time.perf_counter() - began


def reached(root: Path, bundle: str, side_px: int, few: int, many: int) -> float:
    """Images per second of the road, its start-up left out."""
    spent = []
    for count in (few, many):
        archive = make_archive(root / f"in-{side_px}-{count}", count, side_px)
        spent.append(seconds(bundle, archive, root / f"out-{side_px}-{count}"))
    return (many - few) / (spent[1] - spent[0])


def model_bound(root: Path) -> None:
    bundle = make_bundle(root / "resnet", "resnet_generator")
    before = ceiling(forwards, bundle, 24)
    got = reached(root, bundle, SMALL_PX, 8, 72)
    possible = (before + ceiling(forwards, bundle, 24)) / 2  # on both sides, since a machine is seldom ours alone
    print(f"model-bound: {got:.2f} of {possible:.2f} images/s: {got / possible:.2f} of the ceiling", flush=True)


def codec_bound(root: Path) -> None:
    files = make_archive(root / "files", 16, LARGE_PX)
    bares = {"Pillow": pillow_codecs, "the road's own codecs": own_codecs}
    before = {name: ceiling(bare, files, 300) for name, bare in bares.items()}
    got = reached(root, make_bundle(root / "identity", "identity"), LARGE_PX, 64, 1024)
    for name, bare in bares.items():
        possible = (before[name] + ceiling(bare, files, 300)) / 2
        print(
            f"codec-bound: {got:.1f} of {possible:.1f} images/s: {got / possible:.2f} of a bare pool with {name}",
            flush=True,
        )


def main() -> None:
    asked = sys.argv[1:] or ["model", "codec"]
    with tempfile.TemporaryDirectory() as folder, cluster.connected():
        for name in asked:
            {"model": model_bound, "codec": codec_bound}[name](Path(folder))


if __name__ == "__main__":
    main()
