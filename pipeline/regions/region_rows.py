"""What one row of a user's table says of a region, checked."""

import json
import math
from collections.abc import Mapping
from typing import Any

from recast.models.faces import LANDMARKS
from recast.pipeline.regions import masks
from recast.pipeline.regions.box_tables import CORNERS, SIZE
from recast.pipeline.regions.coco import Size, segmented
from recast.pipeline.regions.masks import MOST_PIXELS, MaskError
from recast.pipeline.regions.region import BROUGHT, Region, fitted

Box = tuple[float, float, float, float]
LEAST_SHARED = 0.5
"""Share of the box around a mask that must lie in the region's own box: else one of them is of other pixels."""


class EmptyBoxError(ValueError):
    """A box without any area."""


def size_of(row: Mapping[str, Any], where: str) -> Size | None:
    """Height and width of the image that a row is about; None where it does not say them. Raises ValueError."""
    sides, mask = [_given(row.get(name)) for name in SIZE], row.get("mask")
    if isinstance(mask, dict) and sides == [None, None]:
        sides = list(mask.get("size") or sides)
    if sides == [None, None]:
        return None
    if len(sides) != 2 or not all(isinstance(side, (int, float)) and side > 0 and side == int(side) for side in sides):
        raise ValueError(f"{where}: {' and '.join(SIZE)} are {sides}, not two whole numbers of pixels")
    height, width = (int(side) for side in sides)
    if height * width > MOST_PIXELS:
        raise ValueError(f"{where}: its image has {width} x {height} px, more than any image")
    return height, width


def region_of(row: Mapping[str, Any], size: Size | None, where: str) -> Region | None:
    """The region that a row tells of; None where it has no coordinates at all.

    Args:
        size: height and width of the row's image, where they are known.
        where: what messages call the row.

    Raises:
        ValueError: a column makes no sense.
    """
    try:
        mask, inside = _mask(_given(row.get("mask")), size)
    except MaskError as fault:
        raise ValueError(f"{where}: {fault}") from fault
    box = _box(row, where)
    if box is not None and inside is not None and not _meet(box, inside):
        raise ValueError(f"{where}: its mask lies elsewhere than its box")
    box = box or inside
    if box is None and _given(row.get("mask")) is not None:
        raise ValueError(f"{where}: a mask needs a pixel inside, and its box or the image's {' and '.join(SIZE)}")
    if box is None:
        return None
    region = Region(
        kind=str(_given(row.get("kind")) or "region"),
        box=box,
        score=_score(row, where),
        detector=BROUGHT,
        landmarks=_landmarks(row, where),
        identity=str(_given(row.get("identity")) or ""),
        mask=mask,
        points=_points(row, where),
        track=None if (track := _given(row.get("track"))) is None else str(track),
        category=_category(row, where),
    )
    return fitted(region, *size) if size is not None else region


def _mask(given: Any, size: Size | None) -> tuple[str | None, Box | None]:
    """A row's mask, if any pixel is inside, and the box around it where the image's size is known. Raises MaskError."""
    if given is None:
        return None, None
    if isinstance(given, dict):
        given = segmented(given, size)[0]
        if given is None:
            return None, None
    if not isinstance(given, str):
        raise MaskError("its mask is neither COCO's compressed text nor an object of size and counts")
    if size is None:
        return (given if masks.area(given) else None), None
    inside = masks.bounding_box(masks.checked(given, *size), size[0])
    if inside is None:
        return None, None
    left, top, right, bottom = map(float, inside)
    return given, (left, top, right, bottom)


def _meet(box: Box, inside: Box) -> bool:
    """Whether a mask's box lies in the region's for the most part."""
    across, down = (min(box[n + 2], inside[n + 2]) - max(box[n], inside[n]) for n in (0, 1))
    whole = (inside[2] - inside[0]) * (inside[3] - inside[1])
    return min(across, down) > 0 and across * down >= LEAST_SHARED * whole


def _box(row: Mapping[str, Any], where: str) -> Box | None:
    """The row's box; None where it has no coordinates at all."""
    sides = list(row["box"]) if row.get("box") is not None else [row.get(corner) for corner in CORNERS]
    if all(side is None for side in sides):
        return None
    if len(sides) != 4 or any(side is None for side in sides):
        raise ValueError(f"{where}: a box is four numbers, {', '.join(CORNERS)}; it has {sides}")
    left, top, right, bottom = (float(side) for side in sides if side is not None)
    named = f"the box {left:g}, {top:g}, {right:g}, {bottom:g}"
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError(f"{where}: {named} has a side that is no finite number")
    if not (left < right and top < bottom):
        raise EmptyBoxError(f"{where}: {named} is empty")
    return left, top, right, bottom


def _score(row: Mapping[str, Any], where: str) -> float:
    score = 1.0 if row.get("score") is None else float(row["score"])
    if not math.isfinite(score):
        raise ValueError(f"{where}: its score is no finite number")
    return score


def _landmarks(row: Mapping[str, Any], where: str) -> tuple[float, ...]:
    landmarks = tuple(map(float, row.get("landmarks") or ()))
    if not all(map(math.isfinite, landmarks)):
        raise ValueError(f"{where}: a landmark is no finite number")
    if len(landmarks) not in (0, 2 * LANDMARKS):
        raise ValueError(f"{where}: landmarks are {len(landmarks)} numbers, not {2 * LANDMARKS}")
    return landmarks


def _points(row: Mapping[str, Any], where: str) -> tuple[float, ...]:
    """x, y, and visibility or score of each point; CSV files write them as JSON does."""
    given = _given(row.get("points"))
    listed = json.loads(given) if isinstance(given, str) else given or ()
    points = tuple(map(float, listed))
    if len(points) % 3 or not all(map(math.isfinite, points)):
        raise ValueError(f"{where}: its points are not x, y, and visibility or score of each, finite numbers")
    return points


def _category(row: Mapping[str, Any], where: str) -> int | None:
    category = _given(row.get("category"))
    if category is None:
        return None
    whole = isinstance(category, (int, float)) and not isinstance(category, bool) and category == int(category)
    if not whole or abs(category) >= 2**31:
        raise ValueError(f"{where}: its category is {category!r}, not a whole number; names go into the column kind")
    return int(category)


def _given(value: Any) -> Any:
    """A cell's value; None where the cell is empty, as CSV files and tables of pandas write that."""
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value
