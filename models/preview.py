"""The sample grid: what a person looks at to judge a training."""

import math

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from recast.models.recipes.recipe import Preview

GAP_PX = 4


def sample_grid(preview: Preview) -> Image.Image:
    """One row per sample, columns input | output | target as there are, all enlarged to one size without smoothing."""
    shown = [images for images in preview if images is not None]
    height = max(images.shape[2] for images in shown)
    width = max(images.shape[3] for images in shown)
    columns = [_as_pixels(images, height, width) for images in shown]
    if len(columns) == 1:
        columns = _wrapped(columns[0])
    rows = [np.concatenate([_framed(column[n]) for column in columns], axis=1) for n in range(len(columns[0]))]
    return Image.fromarray(np.concatenate(rows, axis=0)[GAP_PX:, GAP_PX:])


def _wrapped(images: np.ndarray) -> list[np.ndarray]:
    """Images with nothing beside them, in a square of columns as far as they go."""
    across = max(1, math.isqrt(len(images)))
    return [images[n : len(images) // across * across : across] for n in range(across)]


def _as_pixels(images: Tensor, height: int, width: int) -> np.ndarray:
    """float [N, 3, h, w] in [0, 1] -> uint8 [N, height, width, 3]"""
    enlarged = F.interpolate(images.detach().float().cpu(), size=(height, width), mode="nearest")
    return (enlarged * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _framed(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((GAP_PX, 0), (GAP_PX, 0), (0, 0)), constant_values=255)
