"""Structural similarity of 8-bit images."""

import cv2
import numpy as np

SIGMA, TRUNCATE = 1.5, 3.5
"""Deviation of the Gaussian window, and where it ends, in deviations: it has 11 x 11 pixels."""
REACH_PX = int(TRUNCATE * SIGMA + 0.5)
SIDE_PX = 2 * REACH_PX + 1
"""The side of the window, and so the least side of an image."""
K1, K2, LARGEST = 0.01, 0.03, 255.0


def ssim(image: np.ndarray, target: np.ndarray) -> float:
    """Mean SSIM of images [H, W, C] of values from 0 to 255, by channel, as in Wang et al. 2004, section III-B and C.

    Raises:
        ValueError: the shapes differ, or a side is shorter than the window.
    """
    if image.shape != target.shape:
        raise ValueError(f"can't compare images of shapes {image.shape} and {target.shape}")
    reach = REACH_PX
    if min(image.shape[:2]) < SIDE_PX:
        raise ValueError(f"SSIM looks at windows of {SIDE_PX} px; an image of {image.shape[:2]} is too small")
    x, y = image.astype(np.float64), target.astype(np.float64)

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (SIDE_PX, SIDE_PX), SIGMA)[reach:-reach, reach:-reach]

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    both = mean(x * y) - mean_x * mean_y
    c1, c2 = (K1 * LARGEST) ** 2, (K2 * LARGEST) ** 2
    similar = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return float((similar / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())
