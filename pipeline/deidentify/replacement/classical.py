"""Classical replacement of regions: nothing that was inside can be read from what is there afterwards."""

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from recast.pipeline.deidentify.settings import Replacement
from recast.pipeline.regions.region import BROUGHT, Region

BLOCKS = 4
SIGMA = 0.25
SAMPLES = np.linspace(0, 1, 17)
"""Where a region is probed, along each of its sides."""
WITHIN = (SAMPLES - 0.5)[None] ** 2 + (SAMPLES - 0.5)[:, None] ** 2 <= 0.25


def replaced(
    pixels: np.ndarray, regions: Sequence[Region], how: Replacement
) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """Pixels uint [H, W, C] -> the same with all regions replaced, and the boxes that hold every changed pixel.

    Solid and pixelated and blurred regions are made of the original's pixels before any was replaced; where regions
    overlap, the later covers the earlier.
    """
    result, boxes = pixels.copy(), []
    for region in regions:
        left, top, right, bottom = grown(region, how.margin, pixels.shape)
        if left >= right or top >= bottom:
            continue
        mask = _mask(region, how, (left, top, right, bottom))
        inside = pixels[top:bottom, left:right]
        new = _made(inside, mask, how)
        result[top:bottom, left:right][mask] = new[mask]
        boxes.append((left, top, right, bottom))
    return result, boxes


def grown(region: Region, margin: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The region's box with its margin, in whole pixels of the image."""
    across, down = region.width * margin / 2, region.height * margin / 2
    left, top, right, bottom = region.box
    height, width = shape[:2]
    return (
        max(0, math.floor(left - across)), max(0, math.floor(top - down)),
        min(width, math.ceil(right + across)), min(height, math.ceil(bottom + down)),
    )  # fmt: skip


def shape_of(region: Region, how: Replacement) -> str:
    """`ellipse` or `box`: what of the region is replaced."""
    if how.shape != "auto":
        return how.shape
    return "box" if BROUGHT in region.detector.split("+") else "ellipse"


def covered_share(region: Region, by: Iterable[tuple[Region, Replacement]]) -> float:
    """How much of the ellipse in a region's box (all of the box, if a user brought it) lies in what is replaced for
    others, by sample points; all of it: 1."""
    x, y = (low + side * SAMPLES for low, side in zip(region.box[:2], (region.width, region.height), strict=True))
    inside = np.zeros((len(SAMPLES), len(SAMPLES)), bool)
    for other, how in by:
        inside |= _inside(other, how, x, y)
    if shape_of(region, Replacement()) == "box":
        return float(inside.mean())
    return float(inside[WITHIN].mean())


def _mask(region: Region, how: Replacement, box: tuple[int, int, int, int]) -> np.ndarray:
    """bool [h, w]: which pixels of a box are replaced."""
    left, top, right, bottom = box
    if shape_of(region, how) == "box":
        return np.ones((bottom - top, right - left), bool)
    return _inside(region, how, np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)


def _inside(region: Region, how: Replacement, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool [len(y), len(x)]: whether points lie in what is replaced for a region."""
    across, down = region.width * (1 + how.margin) / 2, region.height * (1 + how.margin) / 2
    x = (x - (region.box[0] + region.box[2]) / 2) / across
    y = (y - (region.box[1] + region.box[3]) / 2) / down
    if shape_of(region, how) == "box":
        return (np.abs(x) <= 1)[None] & (np.abs(y) <= 1)[:, None]
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
