"""Classical replacement of regions: nothing that was inside can be read from what is there afterwards."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from recast.pipeline.deidentify.regions import Region
from recast.pipeline.deidentify.settings import Replacement

BLOCKS = 4
SIGMA = 0.25


def replaced(
    pixels: np.ndarray, regions: Sequence[Region], how: Replacement
) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """Pixels uint [H, W, C] -> the same with all regions replaced, and the boxes that hold every changed pixel.

    Solid and pixelated and blurred regions are made of the original's pixels before any was replaced; where regions
    overlap, the later covers the earlier.
    """
    result, boxes = pixels.copy(), []
    for region in regions:
        left, top, right, bottom = _grown(region, how.margin, pixels.shape)
        if left >= right or top >= bottom:
            continue
        mask = _mask(region, how, (left, top, right, bottom))
        inside = pixels[top:bottom, left:right]
        new = _made(inside, mask, how)
        result[top:bottom, left:right][mask] = new[mask]
        boxes.append((left, top, right, bottom))
    return result, boxes


def _grown(region: Region, margin: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The region's box with its margin, in whole pixels of the image."""
    across, down = region.width * margin / 2, region.height * margin / 2
    left, top, right, bottom = region.box
    height, width = shape[:2]
    return (
        max(0, math.floor(left - across)), max(0, math.floor(top - down)),
        min(width, math.ceil(right + across)), min(height, math.ceil(bottom + down)),
    )  # fmt: skip


def _mask(region: Region, how: Replacement, box: tuple[int, int, int, int]) -> np.ndarray:
    """bool [h, w]: which pixels of a box are replaced."""
    left, top, right, bottom = box
    if how.shape == "box":
        return np.ones((bottom - top, right - left), bool)
    x = (np.arange(left, right) + 0.5 - (region.box[0] + region.box[2]) / 2) / (region.width * (1 + how.margin) / 2)
    y = (np.arange(top, bottom) + 0.5 - (region.box[1] + region.box[3]) / 2) / (region.height * (1 + how.margin) / 2)
    return x[None] ** 2 + y[:, None] ** 2 <= 1


def _made(inside: np.ndarray, mask: np.ndarray, how: Replacement) -> np.ndarray:
    """What stands in a box afterwards, of its shape and type."""
    if how.method == "solid":
        return np.zeros_like(inside)
    height, width = inside.shape[:2]
    longer = max(height, width)
    if how.method == "pixelate":
        side = how.strength * longer / BLOCKS
        small = (max(1, round(width / side)), max(1, round(height / side)))
        few = cv2.resize(inside, small, interpolation=cv2.INTER_AREA)
        made = cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST)
    else:
        sigma = SIGMA * how.strength * longer
        made = cv2.GaussianBlur(inside, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return made.reshape(inside.shape)
