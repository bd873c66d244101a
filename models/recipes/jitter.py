"""Augmentation in the field's ways: resize, cut a square at random, mirror, change colours."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recast.models.pixels import LUMA


def jittered(
    images: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    load_px: int,
    size_px: int,
    mirror: bool,
    augment: bool = True,
) -> list[Tensor]:
    """Images uint8 [H, W, 3] -> uint8 [3, size_px, size_px] each, all resized, cut and mirrored alike.

    Isola et al. 2017, section 6.2: resized to `load_px` squares, cut to `size_px` at random, mirrored half of the time;
    from the middle and never mirrored where they aren't to be augmented (`augment`).
    """
    middle = (load_px - size_px) // 2
    left, top = rng.integers(load_px - size_px + 1, size=2) if augment else (middle, middle)
    mirrored = augment and mirror and rng.random() < 0.5
    cuts = []
    for image in images:
        cut = _resized(image, load_px)[top : top + size_px, left : left + size_px]
        cut = cut[:, ::-1] if mirrored else cut
        cuts.append(torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1))))
    return cuts


def square(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    size_px: int,
    mirror: bool,
    augment: bool = True,
    least_area: float = 1.0,
) -> Tensor:
    """Image uint8 [H, W, 3] -> uint8 [3, size_px, size_px], a square of it, its proportions kept.

    Args:
        augment: at a random place, of `least_area` to 1 of the largest square's area, mirrored half of the time where
            `mirror` says so; else the middle of the image.
    """
    height, width = image.shape[:2]
    side, left, top = min(height, width) * 1.0, 0.5, 0.5
    if augment:
        side *= math.sqrt(rng.uniform(least_area, 1))
        left, top = rng.random(2)
    x, y = left * (width - side), top * (height - side)
    box = (x, y, x + side, y + side)
    cut = np.asarray(Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BICUBIC, box=box))
    if augment and mirror and rng.random() < 0.5:
        cut = cut[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1)))


def luma(image: Tensor) -> Tensor:
    """uint8 [3, H, W] -> uint8 [1, H, W], weighed as the bulk road does for networks that take greyscale."""
    return (image * torch.tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True).round_().byte()


def recoloured(image: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """uint8 [3, H, W] -> the same with its brightness, contrast and saturation changed by up to `strength` of each."""
    brightness, contrast, saturation = 1 + rng.uniform(-strength, strength, 3)
    values = image.float() * brightness
    values = values.mean() + (values - values.mean()) * contrast
    grey = values.mean(0, keepdim=True)
    return (grey + (values - grey) * saturation).round_().clamp_(0, 255).byte()


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
