"""What annotations tell recipes of things in images: their categories, boxes and keypoints, as rows of numbers."""

import re
from dataclasses import dataclass

import numpy as np

from recast.models.looks import Category

BOX_COLUMNS = 4
CATEGORY_COLUMN = 4
"""The column of a row that has the place of its category."""
THING_COLUMNS = 5
"""Columns of a row before its keypoints: left, top, right, bottom in pixels, and the place of its category."""
LEAST_SIDE_PX = 1.0
"""Things that a cut leaves narrower or lower are not asked for."""
SIDES = {"left": "right", "right": "left"}
"""Words of keypoints' names that change in a mirror."""
SIDE = re.compile(r"(?<![a-zA-Z])(left|right)(?![a-zA-Z])")


@dataclass(frozen=True, kw_only=True)
class Things:
    """What annotations can tell of: the categories that they list, and the keypoints of a thing."""

    categories: tuple[Category, ...]
    points: tuple[str, ...] = ()
    """Names of the keypoints, in order; none where things have none."""
    limbs: tuple[tuple[int, int], ...] = ()
    """Pairs of keypoints that a drawing joins, by their places."""

    @property
    def columns(self) -> int:
        """Numbers in the row of a thing: THING_COLUMNS, then x, y and visibility (0, 1 or 2) of each keypoint."""
        return THING_COLUMNS + 3 * len(self.points)

    @property
    def mirrored_points(self) -> list[int]:
        """Which keypoint each becomes in a mirror: `left_eye` is `right_eye` there, and others stay what they are."""
        other = [SIDE.sub(lambda word: SIDES[word[0]], name) for name in self.points]
        return [self.points.index(name) if name in self.points else place for place, name in enumerate(other)]


def moved(rows: np.ndarray, corner: tuple[float, float], scale: float) -> np.ndarray:
    """Things in a cut of their image that begins at a corner and is enlarged by a scale.

    Args:
        rows: float [N, columns].
        corner: x and y in pixels of the image.
    """
    found = rows.copy()
    found[:, :BOX_COLUMNS] = (rows[:, :BOX_COLUMNS] - np.tile(corner, 2)) * scale
    points = keypoints(found)
    points[..., :2] = (points[..., :2] - corner) * scale
    return found


def mirrored(rows: np.ndarray, width: int, order: list[int]) -> np.ndarray:
    """Things as the mirror image of an image of that width shows them; `order` is `Things.mirrored_points`."""
    found = rows.copy()
    found[:, [0, 2]] = width - rows[:, [2, 0]]
    points = keypoints(rows)[:, order].copy()
    points[..., 0] = width - points[..., 0]
    keypoints(found)[:] = points
    return found


def shown(rows: np.ndarray, size_px: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The things that are in a square of that side, their boxes cut to it, the largest first, `most` of them at most.

    Returns:
        float32 [most, columns], NaN where there are no more; and which of the rows they are, int [n].
    """
    clipped = rows.copy()
    clipped[:, :BOX_COLUMNS] = rows[:, :BOX_COLUMNS].clip(0, size_px)
    sides = clipped[:, 2:4] - clipped[:, :2]
    (there,) = np.nonzero(sides.min(1, initial=np.inf) >= LEAST_SIDE_PX)
    which = there[np.argsort(-sides[there].prod(1), kind="stable")][:most]
    made = np.full((most, rows.shape[1]), np.nan, np.float32)
    made[: len(which)] = clipped[which]
    return made, which


def keypoints(rows: np.ndarray) -> np.ndarray:
    """x, y and visibility of the keypoints of things, a view [N, K, 3] of their rows."""
    return rows[:, THING_COLUMNS:].reshape(len(rows), (rows.shape[1] - THING_COLUMNS) // 3, 3)
