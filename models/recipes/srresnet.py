"""Super-resolution by regression: a residual network learns what bicubic enlargement misses.

Ledig et al. 2017 (SRResNet, arXiv:1609.04802) without batch normalisation, as Lim et al. 2017 (EDSR, arXiv:1707.02921)
recommend. Photographs are reduced before they serve as targets, which makes them sharp at the level of pixels; their
inputs are reduced further by Pillow's bicubic filter.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.descriptor import Descriptor
from models.losses.reconstruction import RECONSTRUCTION
from models.networks.edsr import EDSR
from models.pixels import to_range, to_unit
from models.recipes.recipe import Batch, Preview, Product, Recipe, RecipeConfig, Road

BICUBIC_REACH = 2
"""Low-resolution pixels that Pillow's bicubic filter reaches to either side; cut off after reducing a patch."""
LANCZOS_REACH = 3
"""Likewise, of Pillow's Lanczos filter."""


@dataclass(frozen=True, kw_only=True)
class SRResNetConfig(RecipeConfig):
    """Settings of the srresnet recipe."""

    scale: Literal[2, 3, 4] = 2
    """Output pixels per input pixel along each side."""
    channels: int = 64
    """Features in the trunk (64 in SRResNet and in EDSR's baseline)."""
    blocks: int = 16
    """Residual blocks in the trunk (16 in both)."""
    patch_px: int = 32
    """Side of an input patch."""
    reduce_from: float = 2.0
    """Photographs are reduced at least by this before they serve as targets…"""
    reduce_to: float = 4.0
    """…and at most by this; half of the examples by exactly `reduce_from`, the others spread between."""
    recolour: bool = True
    """Whether colour channels are permuted and inverted at random, as flips and rotations always are."""
    loss: Literal["l1", "mse"] = "l1"
    """Distance to the target (EDSR, section 3.3: L1 converges better)."""
    warmup: int = 100
    """Steps over which the learning rate rises to its full value, before it falls along a cosine."""


class SRResNet(Recipe):
    """low resolution x -> high resolution y: minimise |G(x) - y|."""

    images_per_example = 1

    def __init__(self, config: SRResNetConfig) -> None:
        self.config = config
        arguments = {"scale": config.scale, "channels": config.channels, "blocks": config.blocks}
        G = EDSR(**arguments)
        self.networks = {"G": G}
        self.optimizers = {"G": torch.optim.Adam(G.parameters(), lr=config.learning_rate, fused=True)}
        descriptor = Descriptor(task="upscale", scale=config.scale, halo_px=G.halo_px)
        self.product = Product(part="G", network="edsr", arguments=arguments, descriptor=descriptor)

    def example(
        self, images: tuple[np.ndarray, ...], rng: np.random.Generator, *, varied: bool = True
    ) -> dict[str, Tensor]:
        """low: [3, patch, patch] and high: [3, scale*patch, scale*patch], cut from a reduced photograph."""
        (photo,) = images
        scale, margin = self.config.scale, BICUBIC_REACH
        side = self.config.patch_px + 2 * margin
        high = _reduced_patch(photo, side * scale, self._reduction(photo, side * scale, rng), rng)
        low = np.asarray(Image.fromarray(high).resize((side, side), Image.Resampling.BICUBIC))
        low, high = _inside(low, margin), _inside(high, scale * margin)
        if varied:
            low, high = self._varied(low, high, rng)
        return {"low": _as_tensor(low), "high": _as_tensor(high)}

    def _varied(self, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        low, high = _turned(low, turns, mirrored), _turned(high, turns, mirrored)
        if not self.config.recolour:
            return low, high
        recoloured = _recolouring(rng)
        return recoloured(low), recoloured(high)

    def _reduction(self, photo: np.ndarray, side: int, rng: np.random.Generator) -> float:
        largest = min(photo.shape[:2]) / side
        if largest < 1:
            raise ValueError(f"it is {photo.shape[1]}x{photo.shape[0]} px; patches of {side} px don't fit")
        least = min(self.config.reduce_from, largest)
        most = min(self.config.reduce_to, largest)
        even = rng.random() < 0.5
        return least if even or most <= least else float(np.exp(rng.uniform(np.log(least), np.log(most))))

    def step(self, batch: Batch, road: Road) -> dict[str, Tensor]:
        x, y = to_range(batch["low"], 0, 1), to_range(batch["high"], 0, 1)
        output = self.networks["G"](x).float()
        loss = RECONSTRUCTION[self.config.loss](output, y)
        road.update("G", loss)
        error = (output.detach().clamp(0, 1) - y).square().mean()
        return {"G reconstruction": loss, "PSNR dB": -10 * torch.log10(error)}

    def lr_factor(self, step: int) -> float:
        rising = min(1.0, (step + 1) / max(1, self.config.warmup))
        return rising * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.config.steps)))

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        x = to_range(batch["low"], 0, 1)
        return Preview(x, to_unit(generator(x), 0, 1), to_range(batch["high"], 0, 1))


def _reduced_patch(photo: np.ndarray, side: int, reduction: float, rng: np.random.Generator) -> np.ndarray:
    """A random square of the photograph that Lanczos reduction turns into [side, side, 3]."""
    height, width = photo.shape[:2]
    span, reach = side * reduction, math.ceil(LANCZOS_REACH * reduction)
    x, y = rng.uniform(0, max(0.0, width - span)), rng.uniform(0, max(0.0, height - span))
    left, top = max(0, int(x) - reach), max(0, int(y) - reach)
    around = photo[top : math.ceil(y + span) + reach, left : math.ceil(x + span) + reach]
    box = (x - left, y - top, min(x - left + span, around.shape[1]), min(y - top + span, around.shape[0]))
    return np.asarray(Image.fromarray(around).resize((side, side), Image.Resampling.LANCZOS, box=box))


def _inside(image: np.ndarray, margin: int) -> np.ndarray:
    return image[margin:-margin, margin:-margin]


def _turned(image: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    return np.rot90(image[:, ::-1] if mirrored else image, turns)


def _recolouring(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    order, negative = rng.permutation(3), rng.random() < 0.5
    return lambda image: 255 - image[..., order] if negative else image[..., order]


def _as_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


TINY = SRResNetConfig(steps=20, batch_size=4, learning_rate=1e-3, channels=8, blocks=2, patch_px=12, warmup=2)
"""For tests: seconds on a CPU, and better than bicubic by little."""

PHOTO_X2 = SRResNetConfig(
    steps=16_000, batch_size=16, learning_rate=1e-3, ema_decay=0.999, channels=64, blocks=10, patch_px=32, reduce_to=2.0
)
"""The x2 upscaler that ships: some 40 minutes of one core with AMX bf16, +2.51 dB over bicubic on two held-out
photographs. `recast sample photos photos`, `recast sample leaves photos/train --count 5 --size 2000`,
`recast train srresnet --preset photo-x2 --data photos/train --output runs/x2 --precision bf16`."""

PHOTO_X4 = dataclasses.replace(
    PHOTO_X2, scale=4, patch_px=24, steps=4_000, learning_rate=5e-4, loss="mse", reduce_to=4.0
)
"""The x4 upscaler that ships: some 10 minutes likewise, +1.47 dB. Twice as many steps did worse on held-out photographs
(+1.38 dB): squared error, more reductions and few steps keep it from learning thirteen images by heart."""

PAPER = SRResNetConfig(
    scale=4, channels=64, blocks=16, patch_px=24, loss="mse", recolour=False,
    steps=1_000_000, batch_size=16, learning_rate=1e-4, warmup=0,
)  # fmt: skip
"""SRResNet's own numbers (Ledig et al. 2017, section 3.2): batches of 16 patches of 96 px, x4, MSE, Adam at 1e-4 for
10^6 updates; here with EDSR's blocks and a cosine decay, and with targets reduced before use."""

PRESETS = {"paper": PAPER, "photo-x2": PHOTO_X2, "photo-x4": PHOTO_X4, "tiny": TINY}
