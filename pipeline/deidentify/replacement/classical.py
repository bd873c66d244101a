"""Classical replacement of regions: nothing that was inside can be read from what is there afterwards."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import cv2
import numpy as np

from recast.pipeline.deidentify.settings import Replacement
from recast.pipeline.regions import masks
from recast.pipeline.regions.region import BROUGHT, Region

BLOCKS = 4
"""Blocks along the longer side of what is pixelated, at strength 1."""
SIGMA = 0.25
"""Standard deviation of the blur in shares of the longer side, at strength 1."""
SAMPLES = np.linspace(0, 1, 17)
"""Where a region is probed, along each of its sides."""
Box = tuple[int, int, int, int]
"""Left, top, right and bottom in whole pixels, right and bottom exclusive."""

WITHIN = (SAMPLES - 0.5)[None] ** 2 + (SAMPLES - 0.5)[:, None] ** 2 <= 0.25
"""bool [17, 17]: which of these places lie in the ellipse that fills the region's box."""
GROWN_MASKS = 256
"""Grown masks that are kept at hand, as short texts: each is asked for several times for one image."""


def replaced(pixels: np.ndarray, regions: Sequence[Region], how: Replacement) -> tuple[np.ndarray, list[Box]]:
    """Pixels uint [H, W, C] -> the same with all regions replaced, and the boxes that hold every changed pixel.

    Solid and pixelated and blurred regions are made of the original's pixels before any was replaced; where regions
    overlap, the later covers the earlier.
    """
    result, boxes = pixels.copy(), []
    for region in regions:
        left, top, right, bottom = grown(region, how.margin, pixels.shape)
        if left >= right or top >= bottom:
            continue
        chosen = pixels_of(region, how, (left, top, right, bottom), pixels.shape)
        inside = pixels[top:bottom, left:right]
        new = _made(inside, how)
        result[top:bottom, left:right][chosen] = new[chosen]
        boxes.append((left, top, right, bottom))
    return result, boxes


def grown(region: Region, margin: float, shape: tuple[int, ...]) -> Box:
    """The region's box with its margin, in whole pixels of the image [H, W, …]."""
    across, down = region.width * margin / 2, region.height * margin / 2
    left, top, right, bottom = region.box
    height, width = shape[:2]
    return (
        max(0, math.floor(left - across)), max(0, math.floor(top - down)),
        min(width, math.ceil(right + across)), min(height, math.ceil(bottom + down)),
    )  # fmt: skip


def shape_of(region: Region, how: Replacement) -> str:
    """`mask`, `ellipse` or `box`: what of the region is replaced; for `ellipse` its mask, too, where it has one."""
    if how.shape != "auto":
        return how.shape
    if region.mask is not None:
        return "mask"
    return "box" if region.fills_box or BROUGHT in region.detector.split("+") else "ellipse"


def pixels_of(region: Region, how: Replacement, window: Box, shape: tuple[int, ...]) -> np.ndarray:
    """Which pixels of a window of an image [H, W, …] are replaced for a region, bool [h, w].

    A mask grows by the margin as boxes do: by half of it, of the box's width and height, to each side.
    """
    left, top, right, bottom = window
    chosen = np.zeros((max(0, bottom - top), max(0, right - left)), bool)
    box = grown(region, how.margin, shape)
    low_x, low_y, high_x, high_y = (
        max(left, box[0]), max(top, box[1]), max(left, min(right, box[2])), max(top, min(bottom, box[3]))
    )  # fmt: skip
    if low_x >= high_x or low_y >= high_y:
        return chosen
    part = chosen[low_y - top : high_y - top, low_x - left : high_x - left]
    outline = shape_of(region, how)
    if outline == "box":
        part[:] = True
    if outline == "ellipse":
        part |= _inside(region, how, np.arange(low_x, high_x) + 0.5, np.arange(low_y, high_y) + 0.5)
    if outline != "box" and region.mask is not None:
        mask = _grown_mask(region.mask, box, _reach(region, how.margin), shape[0])
        place = low_x - box[0], low_y - box[1], high_x - box[0], high_y - box[1]
        part |= masks.decoded(mask, box[3] - box[1], place)
    return chosen


def _reach(region: Region, margin: float) -> tuple[int, int]:
    """How far a mask grows to the sides, and up and down: rounded up to whole pixels."""
    return math.ceil(region.width * margin / 2), math.ceil(region.height * margin / 2)


@lru_cache(maxsize=GROWN_MASKS)
def _grown_mask(mask: str, box: Box, reach: tuple[int, int], height: int) -> str:
    """The grown mask within a box of an image of a height, as a mask of the box's own size."""
    return masks.encoded(masks.dilated(masks.decoded(mask, height, box), *reach))


def covered_share(region: Region, by: Iterable[tuple[Region, Replacement]], shape: tuple[int, ...]) -> float:
    """How much of a region of an image [H, W, …] lies in what is replaced for others; all of it: 1.

    What counts is the region's mask; without one the ellipse in its box, or all of the box if it may fill it. Among
    boxes it is found by sample points, where there is a mask by every pixel of the image.
    """
    others = list(by)
    if region.mask is not None or any(other.mask is not None for other, _ in others):
        return _covered_pixels(region, others, shape)
    x, y = (low + side * SAMPLES for low, side in zip(region.box[:2], (region.width, region.height), strict=True))
    inside = np.zeros((len(SAMPLES), len(SAMPLES)), bool)
    for other, how in others:
        inside |= _inside(other, how, x, y)
    if shape_of(region, Replacement()) == "box":
        return float(inside.mean())
    return float(inside[WITHIN].mean())


def _covered_pixels(region: Region, others: Sequence[tuple[Region, Replacement]], shape: tuple[int, ...]) -> float:
    window = grown(region, 0, shape)
    own = pixels_of(region, Replacement(margin=0), window, shape)
    if not own.any():
        return 0.0
    covered = np.zeros_like(own)
    for other, how in others:
        covered |= pixels_of(other, how, window, shape)
    return float(covered[own].mean())


def _inside(region: Region, how: Replacement, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool [len(y), len(x)]: whether points lie in what is replaced for a region."""
    across, down = region.width * (1 + how.margin) / 2, region.height * (1 + how.margin) / 2
    x = (x - (region.box[0] + region.box[2]) / 2) / across
    y = (y - (region.box[1] + region.box[3]) / 2) / down
    if shape_of(region, how) == "box":
        return (np.abs(x) <= 1)[None] & (np.abs(y) <= 1)[:, None]
    return x[None] ** 2 + y[:, None] ** 2 <= 1


def _made(inside: np.ndarray, how: Replacement) -> np.ndarray:
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
