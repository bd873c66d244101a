"""Polygons as COCO's annotations have them, rasterised to masks pixel by pixel as pycocotools does it.

The outline is walked in steps of a fifth of a pixel; where it crosses the middle of a column of pixels, the column's
runs begin or end (cocoapi, `common/maskApi.c`, `rleFrPoly`). So a pixel is inside if its middle is, to a fifth of a
pixel, and what is thinner than a pixel may hold none.
"""

from collections.abc import Sequence

import numpy as np

from recast.pipeline.regions import masks
from recast.pipeline.regions.masks import MaskError

STEPS = 5
"""Steps to a pixel."""
LEAST_CORNERS = 3
MOST_OUTSIDE = 4
"""How many times the image's longer side a corner may lie outside of it: the outline is walked there, too."""
MOST_STEPS = 1 << 22
"""How long the outlines of one region may be, in steps: memory grows with it."""


def mask_of(polygons: Sequence[Sequence[float]], height: int, width: int) -> str:
    """The pixels in any of several polygons, each x and y of its corners one after the other, in pixels of the image.

    Raises:
        MaskError: one is no polygon, or lies so far outside of the image that it was meant for other pixels.
    """
    corners = [_corners(polygon, max(height, width)) for polygon in polygons]
    steps = STEPS * sum(np.abs(np.diff(one, axis=0, append=one[:1])).max(1).sum() for one in corners)
    if steps > MOST_STEPS:
        raise MaskError(f"its outlines are {steps / STEPS:,.0f} px long, more than {MOST_STEPS // STEPS:,}")
    return masks.union(*(_rasterised(one, height, width) for one in corners))


def bounds(polygons: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of several polygons. Raises MaskError if one is none."""
    corners = np.concatenate([_corners(polygon) for polygon in polygons])
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    return float(left), float(top), float(right), float(bottom)


def _corners(polygon: Sequence[float], side: int | None = None) -> np.ndarray:
    """float [N, 2]: x and y of the corners, which may lie outside of an image of that side only so far."""
    try:
        numbers = np.asarray(polygon, np.float64)
    except (TypeError, ValueError) as fault:
        raise MaskError("its polygon is no list of numbers") from fault
    if numbers.ndim != 1 or len(numbers) % 2 or len(numbers) < 2 * LEAST_CORNERS:
        raise MaskError(f"its polygon is not x and y of at least {LEAST_CORNERS} corners, one after the other")
    if not np.isfinite(numbers).all():
        raise MaskError("its polygon has a coordinate that is no finite number")
    if side is not None and not (-MOST_OUTSIDE * side <= numbers.min() and numbers.max() <= (1 + MOST_OUTSIDE) * side):
        raise MaskError("its polygon lies far outside of the image")
    return numbers.reshape(-1, 2)


def _rasterised(corners: np.ndarray, height: int, width: int) -> str:
    """One polygon's mask."""
    x, y = _outline(np.trunc(STEPS * corners + 0.5).astype(np.int64))
    crossing = x[1:] != x[:-1]
    column = (np.where(x[1:] < x[:-1], x[1:], x[1:] - 1)[crossing] + 0.5) / STEPS - 0.5
    row = (np.minimum(y[1:], y[:-1])[crossing] + 0.5) / STEPS - 0.5
    middle = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    rows = np.ceil(row[middle].clip(0, height)).astype(np.int64)
    places, counts = np.unique(column[middle].astype(np.int64) * height + rows, return_counts=True)
    edges = places[counts % 2 == 1]  # an outline that comes back to a place has left what it entered there
    return masks.compressed(masks.runs_between(edges, height * width))


def _outline(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every step along the edges between whole corners [N, 2], both ends of each edge included: x and y."""
    start, end = corners, np.roll(corners, -1, 0)
    along = np.abs(end - start)
    flat = along[:, 0] >= along[:, 1]  # the axis that is walked step by step is x
    length = along.max(1)
    main = np.where(flat, 0, 1)
    edge = np.arange(len(corners))
    flipped = start[edge, main] > end[edge, main]  # each edge is rounded as if walked upwards
    low, high = np.where(flipped[:, None], end, start), np.where(flipped[:, None], start, end)
    slope = (high - low)[edge, 1 - main] / np.maximum(length, 1)
    each = np.repeat(edge, length + 1)
    step = np.arange(len(each)) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    step = np.where(flipped[each], length[each] - step, step)
    on_main = low[edge, main][each] + step
    on_other = np.trunc(low[edge, 1 - main][each] + slope[each] * step + 0.5).astype(np.int64)
    return np.where(flat[each], on_main, on_other), np.where(flat[each], on_other, on_main)
