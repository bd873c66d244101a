"""What a file of annotations tells a training of things in images: categories, keypoints, and rows of numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recast.models.looks import Category
from recast.models.recipes.truth import BOX_COLUMNS, THING_COLUMNS, Things
from recast.models.recipes.windows import Silhouette
from recast.pipeline.reasons import plural
from recast.pipeline.regions.masks import MaskError, checked, decoded
from recast.pipeline.regions.region import Region
from recast.pipeline.regions.tables import RegionTable
from recast.pipeline.training.settings import TrainingError

NO_MASK = "-"
"""Stands for the mask of a thing of which only the box is known."""
OUTSIDE = "boxes that lie outside of the image are left out"


def things_of(table: RegionTable, url: str) -> Things:
    """The categories and keypoints of a file: those that COCO's JSON lists, or the categories or kinds of its boxes.

    Keypoints that are visible of no thing at all are none.

    Raises:
        TrainingError: they make no sense, or keypoints are not as many as the categories name.
    """
    try:
        things = _listed(table.categories) if table.categories else Things(categories=_found(table, url))
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise TrainingError(f"the categories of {url} can't be used: {fault}") from fault
    for key, region in table.every():
        if things.points and region.points and len(region.points) != 3 * len(things.points):
            raise TrainingError(
                f"{url}: a {region.kind} in {key} has {len(region.points) // 3} keypoints, and its category names "
                f"{len(things.points)}"
            )
    seen = any(visible > 0 for _, region in table.every() for visible in region.points[2::3])
    return things if seen else Things(categories=things.categories)


def _listed(categories: Sequence[Mapping[str, Any]]) -> Things:
    """From COCO's list. Raises ValueError, KeyError and TypeError as it is odd."""
    named = [each for each in categories if each.get("keypoints")]
    if any(each["keypoints"] != named[0]["keypoints"] for each in named):
        raise ValueError(f"{named[0]['name']} has other keypoints than another category; one set is learned for all")
    ids = [each["id"] for each in categories]
    if len(set(ids)) < len(ids):
        raise ValueError("two of them have one id")
    found = tuple(Category(id=each["id"], name=each["name"]) for each in categories)
    if not named:
        return Things(categories=found)
    limbs = tuple((int(one) - 1, int(other) - 1) for one, other in named[0].get("skeleton") or ())
    return Things(categories=found, points=tuple(named[0]["keypoints"]), limbs=limbs)


def _found(table: RegionTable, url: str) -> tuple[Category, ...]:
    """Numbered as the boxes number them, or else by the order of their names, from 1."""
    regions = [region for _, region in table.every()]
    numbered: dict[int | None, str] = {r.category: r.kind for r in regions if r.category is not None}
    if numbered and any(numbered.get(region.category) != region.kind for region in regions):
        raise TrainingError(f"{url}: boxes of one category have several kinds, or some have no category and others do")
    kinds = sorted({region.kind for region in regions})
    names: list[tuple[int, str]] = list(enumerate(kinds, 1))
    if numbered:
        names = sorted((number, kind) for number, kind in numbered.items() if number is not None)
    return tuple(Category(id=number, name=name) for number, name in names)


def thing_rows(regions: Sequence[Region], things: Things) -> np.ndarray:
    """Things as recipes take them, float32 [N, things.columns]; keypoints that aren't known are not visible."""
    by_number = {each.id: place for place, each in enumerate(things.categories)}
    by_name = {each.name: place for place, each in enumerate(things.categories)}
    rows = np.zeros((len(regions), things.columns), np.float32)
    for row, region in zip(rows, regions, strict=True):
        place = by_name[region.kind] if region.category is None else by_number[region.category]
        row[:THING_COLUMNS] = *region.box, place
        if things.points and region.points:
            row[THING_COLUMNS:] = region.points
    return rows


def within(
    rows: np.ndarray, masks: Sequence[str], declared: Sequence[int], shape: Sequence[int]
) -> tuple[np.ndarray, list[str], str, list[str]]:
    """The things that lie in their image, and their masks; a problem where they were drawn for another image; and what
    should be known.

    Args:
        rows: float32 [N, columns].
        masks: of each thing, or of none.
        declared: height and width that the image must have; (0, 0): any.
        shape: of its pixels.
    """
    height, width = shape[:2]
    if any(declared) and tuple(declared) != (height, width):
        problem = f"it is {width} x {height} px, and its annotations were drawn for {declared[1]} x {declared[0]} px"
        return rows, list(masks), problem, []
    try:
        for mask in set(masks) - {NO_MASK}:
            checked(mask, height, width)
    except MaskError as fault:
        return rows, list(masks), f"of a thing in it, {fault}", []
    left, top, right, bottom = rows[:, :BOX_COLUMNS].T
    inside = (left < width) & (top < height) & (right > 0) & (bottom > 0)
    kept = [mask for mask, there in zip(masks, inside, strict=False) if there]
    return rows[inside], kept, "", [] if inside.all() else [OUTSIDE]


def said_of(table: RegionTable) -> list[str]:
    """What was left out of a file when it was read."""
    if not table.empty:
        return []
    more = " among others" if len(table.empty) > 1 else ""
    count = len(table.empty)
    return [f"left out {count:,} {'box' if count == 1 else 'boxes'} without any area: {table.empty[0]}{more}"]


def missing(count: int) -> list[str]:
    """The sentence for images that annotations are of and that are not there."""
    return [f"{plural(count, 'image')} of the annotations {'is' if count == 1 else 'are'} not there"] if count else []


def silhouettes(rows: np.ndarray, masks: Sequence[str], shape: Sequence[int]) -> tuple[Silhouette | None, ...]:
    """The pixels of things [N, columns] in an image of that shape, from their masks; None where there is none."""
    height, width = shape[:2]
    found: list[Silhouette | None] = []
    for box, mask in zip(rows[:, :BOX_COLUMNS], masks, strict=True):
        left, top = np.floor(box[:2]).clip(0).astype(int).tolist()
        right, bottom = np.ceil(box[2:]).clip(0, (width, height)).astype(int).tolist()
        pixels = decoded(mask, height, (left, top, right, bottom)) if mask != NO_MASK else None
        found.append(None if pixels is None else Silhouette(pixels=pixels, left=left, top=top))
    return tuple(found)
