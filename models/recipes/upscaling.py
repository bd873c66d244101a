"""What every upscaling recipe shares: its settings, its networks, and low and high resolution cut from photographs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.networks import NETWORKS
from recast.models.pixels import to_range, to_unit
from recast.models.recipes.degradation import degraded, sharpened
from recast.models.recipes.phases import Batch
from recast.models.recipes.ranges import Features, LayersOrNone, Pixels, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeConfig

BICUBIC_REACH = 2
"""Low-resolution pixels that Pillow's bicubic filter reaches to either side; cut off after reducing a patch."""
LANCZOS_REACH = 3
"""Likewise, of Pillow's Lanczos filter."""


@dataclass(frozen=True, kw_only=True)
class UpscalingConfig(RecipeConfig):
    """Settings of upscaling recipes."""

    scale: Literal[2, 3, 4, 8] = 2
    """Output pixels per input pixel along each side."""
    network: Literal["edsr", "srresnet", "msrresnet", "rrdb"] = "edsr"
    """edsr: lean, without normalisation; srresnet: the paper's, with batch norm (x2, x4, x8); msrresnet: BasicSR's (x2,
    x3, x4); rrdb: ESRGAN's (x2, x4, x8), slow and sharp."""
    channels: Features = 64
    """Features in the trunk (64 in all four)."""
    blocks: LayersOrNone = 16
    """Blocks in the trunk (16; 23 in ESRGAN)."""
    patch_px: Pixels = 32
    """Side of an input patch."""
    degradation: Literal["bicubic", "real-esrgan"] = "bicubic"
    """How low resolution is made: by Pillow's bicubic filter, or spoilt as the world spoils photographs."""
    sharpen: bool = False
    """Whether targets are sharpened (USM) first; a discriminator is shown them as they were."""
    reduce_from: Annotated[float, Within(1, 64)] = 2.0
    """Factor that photographs are reduced by at least before they serve as targets; 1: not at all."""
    reduce_to: Annotated[float, Within(1, 64)] = 4.0
    """Factor that they are reduced by at most; half of them by `reduce_from`, the others by factors between."""
    recolour: bool = True
    """Whether colour channels are permuted and inverted at random, as flips and rotations always are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduce_to < self.reduce_from:
            raise ValueError(f"reduce_to is {self.reduce_to}; it must be at least reduce_from, {self.reduce_from}")


class Upscaling(Recipe):
    """low resolution x -> high resolution y, the networks' and the examples' part; what is minimised, recipes say."""

    images_per_example = 1
    has_target = True
    config: UpscalingConfig

    def generator(self) -> tuple[nn.Module, Exported]:
        """The network that upscales, fresh, and what a bundle says of it."""
        c = self.config
        arguments: dict[str, Any] = {"channels": c.channels, "blocks": c.blocks}
        arguments |= {"ups": math.ceil(math.log2(c.scale))} if c.network == "rrdb" else {"scale": c.scale}
        G = NETWORKS[c.network](**arguments)
        if G.scale != c.scale:
            raise ValueError(f"scale is {c.scale}; the network {c.network} has 2, 4 and 8")
        descriptor = Descriptor(task="upscale", scale=c.scale, halo_px=getattr(G, "halo_px", None))
        return G, Exported(name="G", network=c.network, arguments=arguments, descriptor=descriptor)

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """low: [3, patch, patch] and high: [3, scale*patch, scale*patch], cut from a reduced photograph.

        Where targets are sharpened, also `unsharpened`: as `high` was before.
        """
        (photo,) = raw.images
        scale, margin = self.config.scale, BICUBIC_REACH if self.config.degradation == "bicubic" else 0
        side = self.config.patch_px + 2 * margin
        cut = _reduced_patch(photo, side * scale, self._reduction(photo, side * scale, rng), rng)
        high = sharpened(cut) if self.config.sharpen else cut
        if self.config.degradation == "bicubic":
            low = np.asarray(Image.fromarray(high).resize((side, side), Image.Resampling.BICUBIC))
        else:
            low = degraded(high, scale, rng)
        images_of = {"low": _inside(low, margin), "high": _inside(high, scale * margin)}
        if self.config.sharpen:
            images_of["unsharpened"] = _inside(cut, scale * margin)
        vary = self._variation(rng) if augment else np.asarray
        return {name: _as_tensor(vary(image)) for name, image in images_of.items()}

    def _variation(self, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
        """Turns, mirrors and recolours all images of an example alike."""
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        recoloured = _recolouring(rng) if self.config.recolour else np.asarray
        return lambda image: recoloured(_turned(image, turns, mirrored))

    def _reduction(self, photo: np.ndarray, side: int, rng: np.random.Generator) -> float:
        largest = min(photo.shape[:2]) / side
        if largest < 1:
            raise ValueError(f"it is {photo.shape[1]}x{photo.shape[0]} px; patches of {side} px don't fit")
        least = min(self.config.reduce_from, largest)
        most = min(self.config.reduce_to, largest)
        even = rng.random() < 0.5
        return least if even or most <= least else float(np.exp(rng.uniform(np.log(least), np.log(most))))

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        x = to_range(batch["low"], 0, 1)
        return Preview(x, to_unit(generator(x), 0, 1), to_range(batch["high"], 0, 1))


def psnr_db(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images in [0, 1]; the output is clipped to it."""
    return -10 * torch.log10((output.detach().clamp(0, 1) - target).square().mean())


def _reduced_patch(photo: np.ndarray, side: int, reduction: float, rng: np.random.Generator) -> np.ndarray:
    """A random square of the photograph that Lanczos reduction turns into [side, side, 3]."""
    height, width = photo.shape[:2]
    if reduction == 1:
        left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        return np.ascontiguousarray(photo[top : top + side, left : left + side])
    span, reach = side * reduction, math.ceil(LANCZOS_REACH * reduction)
    x, y = rng.uniform(0, max(0.0, width - span)), rng.uniform(0, max(0.0, height - span))
    left, top = max(0, int(x) - reach), max(0, int(y) - reach)
    around = photo[top : math.ceil(y + span) + reach, left : math.ceil(x + span) + reach]
    box = (x - left, y - top, min(x - left + span, around.shape[1]), min(y - top + span, around.shape[0]))
    return np.asarray(Image.fromarray(around).resize((side, side), Image.Resampling.LANCZOS, box=box))


def _inside(image: np.ndarray, margin: int) -> np.ndarray:
    return image[margin : image.shape[0] - margin, margin : image.shape[1] - margin]


def _turned(image: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    return np.rot90(image[:, ::-1] if mirrored else image, turns)


def _recolouring(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    order, negative = rng.permutation(3), rng.random() < 0.5
    return lambda image: 255 - image[..., order] if negative else image[..., order]


def _as_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
