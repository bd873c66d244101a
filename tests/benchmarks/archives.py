"""What the benchmarks of the bulk road run over and with: archives of one photograph in variations, fresh bundles."""

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from recast.models.bundle import write
from recast.models.description import Bundle
from recast.models.descriptor import Descriptor
from recast.models.networks import NETWORKS

QUALITY = 92
SMALL_PX, LARGE_PX = 256, 1024


def make_bundle(folder: Path, network: str) -> str:
    """A bundle of a network with fresh weights."""
    descriptor = Descriptor(task="translate", value_range=(-1, 1), size_multiple=4)
    if network == "identity":
        descriptor = Descriptor(task="translate", halo_px=0)
    described = Bundle(name="benchmark", recipe="none", network=network, arguments={}, descriptor=descriptor)
    write(described, NETWORKS[network](), folder)
    return str(folder)


def make_archive(folder: Path, count: int, side_px: int) -> str:
    """`count` different squares of a photograph as JPEG files."""
    folder.mkdir()
    quarter = data.astronaut()
    half = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
    photo = np.concatenate([half, half[::-1]], axis=0)
    for n in range(count):
        square = np.roll(photo, (n * 37, n * 53), axis=(0, 1))[:side_px, :side_px]
        Image.fromarray(np.ascontiguousarray(square)).save(folder / f"{n:05d}.jpg", quality=QUALITY)
    return str(folder)
