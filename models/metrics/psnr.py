"""Peak signal-to-noise ratio of 8-bit images."""

import math

import numpy as np


def psnr_db(image: np.ndarray, target: np.ndarray, border_px: int = 0) -> float:
    """PSNR of two images [H, W, C] of values from 0 to 255, without a border; infinite where they are equal.

    Raises:
        ValueError: the shapes differ, or nothing is left inside the border.
    """
    if image.shape != target.shape:
        raise ValueError(f"can't compare images of shapes {image.shape} and {target.shape}")
    inside = (slice(border_px, image.shape[0] - border_px), slice(border_px, image.shape[1] - border_px))
    difference = image[inside].astype(np.float64) - target[inside].astype(np.float64)
    if not difference.size:
        raise ValueError(f"a border of {border_px} px leaves nothing of an image of shape {image.shape}")
    mean_square = float(np.square(difference).mean())
    return math.inf if mean_square == 0 else 10 * math.log10(255**2 / mean_square)
