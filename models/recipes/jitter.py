"""The augmentation of pix2pix and CycleGAN: resize, cut a square at random, mirror."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def jittered(
    images: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    load_px: int,
    size_px: int,
    mirror: bool,
    varied: bool = True,
) -> list[Tensor]:
    """Images uint8 [H, W, 3] -> uint8 [3, size_px, size_px] each, all resized, cut and mirrored alike.

    Isola et al. 2017, section 6.2: resized to `load_px` squares, cut to `size_px` at random, mirrored half of the time;
    from the middle and never mirrored where they aren't to be `varied`.
    """
    middle = (load_px - size_px) // 2
    left, top = rng.integers(load_px - size_px + 1, size=2) if varied else (middle, middle)
    mirrored = varied and mirror and rng.random() < 0.5
    cuts = []
    for image in images:
        cut = _resized(image, load_px)[top : top + size_px, left : left + size_px]
        cut = cut[:, ::-1] if mirrored else cut
        cuts.append(torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1))))
    return cuts


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
