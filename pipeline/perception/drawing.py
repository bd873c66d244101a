"""What was found in an image as a picture: maps that other networks take, and overlays for people."""

import colorsys
from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np

from recast.models.looks import Looks
from recast.pipeline.images.pictures import as_rgb8
from recast.pipeline.input_errors import InputError
from recast.pipeline.regions import masks
from recast.pipeline.regions.region import Region

Drawing = Literal["labels", "instances", "overlay", "pose"]
IDS: tuple[Drawing, ...] = ("labels", "instances")
"""Drawings whose values are numbers, which no lossy format keeps."""
RULES = 1
"""Which rules say how things are drawn; grows where the same regions would give other pixels."""
LARGEST_LABEL = 254
"""255 stands for void."""
MOST_INSTANCES = (1 << 16) - 1
TURN = 0.618_034
"""Of the circle of hues, between the colours of two categories with neighbouring numbers."""
SHADE = 0.45
"""How much of an overlay's mask is its colour."""
LEAST_POINT_SCORE = 0.3
"""Keypoints of lower scores are not drawn."""
OUTLINE_SHARE = 0.004
"""Width of an overlay's lines, as a share of the image's longer side."""


def drawn(kind: Drawing, image: np.ndarray, regions: Sequence[Region], limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """A picture of regions: uint8 or uint16 [H, W, 1 or 3].

    Args:
        image: uint8 or uint16 [H, W, C], what they were found in.
        regions: the best first, as a row has them; the best is drawn last.
        limbs: pairs of keypoints that a stick figure joins.

    Raises:
        InputError: `too-many`: more things than the drawing has numbers for.
    """
    return _PAINTERS[kind](image, regions[::-1], limbs)


def _labels(image: np.ndarray, regions: Sequence[Region], _limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The category of the likeliest thing at each pixel; 0 where there is none."""
    canvas = np.zeros((*image.shape[:2], 1), np.uint8)
    for region in regions:
        _fill(canvas, region, region.category or 0)
    return canvas


def _instances(image: np.ndarray, regions: Sequence[Region], _limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The number of the likeliest thing at each pixel, from 1 in the order of the row's regions; 0 where is none."""
    if len(regions) > MOST_INSTANCES:
        raise InputError("too-many", f"{len(regions):,} things; a drawing of instances has {MOST_INSTANCES:,} numbers")
    canvas = np.zeros((*image.shape[:2], 1), np.uint16)
    for number, region in zip(range(len(regions), 0, -1), regions, strict=True):
        _fill(canvas, region, number)
    return canvas


def _overlay(image: np.ndarray, regions: Sequence[Region], limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The image with masks shaded, boxes outlined and stick figures, in a colour for each category."""
    canvas = np.ascontiguousarray(as_rgb8(image)).copy()
    width = max(1, round(OUTLINE_SHARE * max(canvas.shape[:2])))
    for region in regions:
        colour = colour_of(region.category or 0)
        if region.mask is not None:
            place, inside = _inside(canvas, region)
            part = canvas[place]
            part[inside] = (part[inside] * (1 - SHADE) + np.array(colour) * SHADE).astype(np.uint8)
        left, top, right, bottom = (round(value) for value in region.box)
        cv2.rectangle(canvas, (left, top), (max(left, right - 1), max(top, bottom - 1)), colour, width)
        _stick_figure(canvas, region, limbs, width)
    return canvas


def _pose(image: np.ndarray, regions: Sequence[Region], limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Stick figures on black, a colour for each limb."""
    canvas = np.zeros((*image.shape[:2], 3), np.uint8)
    width = max(1, round(2 * OUTLINE_SHARE * max(canvas.shape[:2])))
    for region in regions:
        _stick_figure(canvas, region, limbs, width)
    return canvas


_PAINTERS: dict[Drawing, Callable[[np.ndarray, Sequence[Region], Sequence[tuple[int, int]]], np.ndarray]] = {
    "labels": _labels,
    "instances": _instances,
    "overlay": _overlay,
    "pose": _pose,
}


def colour_of(number: int) -> tuple[int, int, int]:
    """Red, green and blue of a category, or of a limb, by its number."""
    red, green, blue = colorsys.hsv_to_rgb((number * TURN) % 1, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def refused(kind: Drawing, looks: Sequence[Looks | None]) -> str:
    """Why a drawing can't be made of what networks find; "" where it can.

    Args:
        looks: of each network; None for one that numbers no categories.
    """
    categories = [category for each in looks if each for category in each.categories]
    if kind == "labels":
        names: dict[int, str] = {}
        for category in categories:
            if category.id > LARGEST_LABEL:
                return f"category {category.id:,} does not fit into 8 bits; --draw instances numbers things instead"
            if names.setdefault(category.id, category.name) != category.name:
                return f"{category.id} is {names[category.id]} to one model and {category.name} to another"
        if None in looks:
            return "a model that finds faces alone numbers no categories; --draw instances numbers things instead"
    if kind == "pose" and not any(each.limbs for each in looks if each):
        return "none of the models gives keypoints that limbs join"
    return ""


def _fill(canvas: np.ndarray, region: Region, value: int) -> None:
    """Give a value to the pixels of a region's mask, or of its box where it has none."""
    place, inside = _inside(canvas, region)
    canvas[place][inside] = value


def _inside(canvas: np.ndarray, region: Region) -> tuple[tuple[slice, slice], np.ndarray]:
    """The window of a region's box in whole pixels, and which of its pixels are inside, bool [h, w]."""
    height, width = canvas.shape[:2]
    left, top = (max(0, int(np.floor(value))) for value in region.box[:2])
    right, bottom = min(width, int(np.ceil(region.box[2]))), min(height, int(np.ceil(region.box[3])))
    place = slice(top, bottom), slice(left, right)
    if region.mask is None:
        return place, np.ones((max(0, bottom - top), max(0, right - left)), bool)
    return place, masks.decoded(region.mask, height, (left, top, right, bottom))


def _stick_figure(canvas: np.ndarray, region: Region, limbs: Sequence[tuple[int, int]], width: int) -> None:
    points = np.array(region.points, np.float64).reshape(-1, 3)
    seen = points[:, 2] >= LEAST_POINT_SCORE
    places = [(int(x), int(y)) for x, y in np.floor(points[:, :2])]
    for number, (one, other) in enumerate(limbs):
        if max(one, other) < len(points) and seen[one] and seen[other]:
            cv2.line(canvas, places[one], places[other], colour_of(number), width)
    for place in (place for place, shown in zip(places, seen, strict=True) if shown):
        cv2.circle(canvas, place, width, (255, 255, 255), -1)
