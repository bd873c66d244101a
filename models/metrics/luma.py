"""The luma that papers on upscaling measure."""

import numpy as np

WEIGHTS, BLACK = (65.481, 128.553, 24.966), 16.0
"""The weights of luma by ITU-R BT.601 in studio range, as MATLAB's rgb2ycbcr and BasicSR have it."""


def y_channel(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float64 [H, W, 1], from 16 to 235, unrounded."""
    return (pixels.astype(np.float64) @ (np.array(WEIGHTS) / 255) + BLACK)[..., None]
