"""The bulk road against what people use, in one run: `python -m tests.benchmarks.bulk_peers [model] [codec]`.

Peers: a loop in the manner of pytorch-CycleGAN-and-pix2pix's `test.py` (one process with all cores for torch, batch 1,
PNG files by Pillow), and the plainest Ray Data program (`read_images -> map_batches(Actor) -> write_images`, with as
many actors as don't hang: one core must stay free for reading). The road writes PNG into shards. Start-up is left out
of all three by taking the difference of two archives.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from PIL import Image
from ray.data import ActorPoolStrategy

from recast.pipeline import bundles, cluster
from tests.benchmarks.archives import LARGE_PX, SMALL_PX, make_archive, make_bundle
from tests.benchmarks.bulk_road import seconds

Run = Callable[[str, str, Path], float]


def loop(bundle: str, archive: str, output: Path) -> float:
    """`test.py`: open, normalise, forward, convert, save; one image after the other, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_loop, bundle, archive, output).result()


def _loop(bundle: str, archive: str, output: Path) -> float:
    torch.set_num_threads(os.cpu_count() or 1)
    described, network = bundles.fetch(bundle).unpack()
    low, high = described.descriptor.value_range
    output.mkdir()
    began = time.perf_counter()
    for file in sorted(Path(archive).iterdir()):
        image = np.asarray(Image.open(file).convert("RGB"), np.float32) / 255 * (high - low) + low
        with torch.no_grad():
            result = network(torch.from_numpy(image.transpose(2, 0, 1))[None])
        pixels = (result[0].numpy().transpose(1, 2, 0) - low) / (high - low) * 255
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(output / f"{file.stem}.png")
    return time.perf_counter() - began


class Translator:
    """The actor of the plain Ray Data program."""

    def __init__(self, bundle: str) -> None:
        described, self.network = bundles.fetch(bundle).unpack()
        self.low, self.high = described.descriptor.value_range

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = []
        for image in batch["image"]:
            values = image.astype(np.float32) / 255 * (self.high - self.low) + self.low
            with torch.no_grad():
                result = self.network(torch.from_numpy(values.transpose(2, 0, 1))[None])
            pixels = (result[0].numpy().transpose(1, 2, 0) - self.low) / (self.high - self.low) * 255
            results.append(pixels.clip(0, 255).astype(np.uint8))
        return {"image": results}


def ray_data(bundle: str, archive: str, output: Path) -> float:
    began = time.perf_counter()
    ray.data.read_images(archive, mode="RGB").map_batches(
        Translator, fn_constructor_args=(bundle,), batch_size=8, compute=ActorPoolStrategy(size=1)
    ).write_images(str(output), column="image", file_format="png")
    return time.perf_counter() - began


def images_per_s(run: Run, root: Path, bundle: str, archives: tuple[str, str], few: int, many: int) -> float:
    spent = [run(bundle, archive, root / f"{run.__name__}-{n}") for n, archive in enumerate(archives)]
    return (many - few) / (spent[1] - spent[0])


def recast(bundle: str, archive: str, output: Path) -> float:
    return seconds(bundle, archive, output, format="png")


def compare(root: Path, name: str, network: str, side_px: int, few: int, many: int) -> None:
    root = root / name
    root.mkdir()
    bundle = make_bundle(root / "bundle", network)
    archives = (make_archive(root / "few", few, side_px), make_archive(root / "many", many, side_px))
    measure = partial(images_per_s, root=root, bundle=bundle, archives=archives, few=few, many=many)
    rates = {run.__name__: measure(run) for run in (loop, recast, ray_data)}
    for peer in ("loop", "ray_data"):
        print(
            f"{name}-bound: {rates['recast']:.2f} images/s, {peer} {rates[peer]:.2f}: "
            f"{rates['recast'] / rates[peer]:.2f} times",
            flush=True,
        )


def main() -> None:
    asked = sys.argv[1:] or ["model", "codec"]
    with tempfile.TemporaryDirectory() as folder, cluster.connected():
        if "model" in asked:
            compare(Path(folder), "model", "resnet_generator", SMALL_PX, 8, 72)
        if "codec" in asked:
            compare(Path(folder), "codec", "identity", LARGE_PX, 16, 176)


if __name__ == "__main__":
    main()
