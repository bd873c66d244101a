"""Small bundles for tests, made on the spot."""

from pathlib import Path

import torch

from models.bundle import Bundle, write
from models.descriptor import Descriptor
from models.networks import NETWORKS


def upscaler(folder: Path, *, scale: int = 2, seed: int = 0, channels: int = 8, blocks: int = 1) -> str:
    """A tiny x2 or x4 upscaler with random weights. Returns its folder."""
    torch.manual_seed(seed)
    arguments = {"scale": scale, "channels": channels, "blocks": blocks}
    network = NETWORKS["edsr"](**arguments)
    write(
        Bundle(
            name=f"tiny x{scale} seed {seed}",
            recipe="srresnet",
            network="edsr",
            arguments=arguments,
            descriptor=Descriptor(task="upscale", scale=scale, halo_px=network.halo_px),
        ),
        network,
        folder,
    )
    return str(folder)
