"""Where a face lies in the square that face networks see, and what of that square is face and what is surroundings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

LANDMARKS = 5
"""Points of a face: eyes, nose, corners of the mouth, left to right as the picture shows them."""
MIRRORED = (1, 0, 2, 4, 3)
"""The order of the landmarks in the mirror."""
FACE_COLUMNS = 4 + 2 * LANDMARKS
"""Columns of a table of faces: left, top, right, bottom, then x and y of each landmark (NaN where not known)."""
HIDDEN = 128
"""What stands where a face was cut out, before it is made smaller."""
FEATHER = 0.08
"""Share of the cut-out's radius, at most, over which the new face fades into its surroundings."""
EYES, NOSE, MOUTH = (0.18, -0.17), 0.03, (0.14, 0.18)
"""A standard face's landmarks from their middle, in heights of its box: across (to both sides) and down."""
MOST_YAW = 0.5
MIDDLE_BELOW = 0.06
"""How far below its box's middle a standard face's landmarks lie, in heights of the box."""

Box = Sequence[float] | np.ndarray
"""Left, top, right, bottom in pixels."""


def mirrored(rows: np.ndarray, width: int) -> np.ndarray:
    """Faces as the image's mirror image shows them.

    Args:
        rows: float [N, FACE_COLUMNS or more], the boxes and landmarks first; columns beyond those stay as they are.
        width: the image's, in pixels.
    """
    found = rows.copy()
    found[:, [0, 2]] = width - rows[:, [2, 0]]
    points = rows[:, 4:FACE_COLUMNS].reshape(-1, LANDMARKS, 2)[:, list(MIRRORED)]
    found[:, 4:FACE_COLUMNS] = (points * (-1, 1) + (width, 0)).reshape(len(rows), -1)
    return found


@dataclass(frozen=True, slots=True)
class Window:
    """A square of an image, perhaps beyond its borders, in whole pixels."""

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, box: Box, context: float) -> "Window":
        """The square around a box's middle, `context` times as large as the box's longer side."""
        side = max(2, round(context * max(box[2] - box[0], box[3] - box[1])))
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return cls(math.floor(x - side / 2 + 0.5), math.floor(y - side / 2 + 0.5), side)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The square of an image [H, W, C]; beyond the borders its outermost pixels repeat."""
        height, width = image.shape[:2]
        rows = np.arange(self.top, self.top + self.side).clip(0, height - 1)
        columns = np.arange(self.left, self.left + self.side).clip(0, width - 1)
        return image[rows[:, None], columns[None]]

    def inside(self, box: Box, margin: float) -> np.ndarray:
        """float32 [side, side]: squared distance from a box's middle; up to 1 in the ellipse that fills it, grown."""
        across = np.arange(self.left, self.left + self.side) + 0.5 - (box[0] + box[2]) / 2
        down = np.arange(self.top, self.top + self.side) + 0.5 - (box[1] + box[3]) / 2
        across /= max((box[2] - box[0]) * (1 + margin) / 2, 0.5)
        down /= max((box[3] - box[1]) * (1 + margin) / 2, 0.5)
        return (across[None] ** 2 + down[:, None] ** 2).astype(np.float32)


def resized(square: np.ndarray, side: int) -> np.ndarray:
    """uint8 [S, S, 3 or none] -> the same at another size, smoothly."""
    if square.shape[0] == side:
        return square
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC))


def enlarged(square: np.ndarray, side: int) -> np.ndarray:
    """uint8 [S, S, 3] -> float32 [side, side, 3] of which `resized` makes the same square again, to the last number
    that rounding leaves: the smallest of all images that do (the pseudo-inverse of making smaller)."""
    size = square.shape[0]
    if side <= size:
        return resized(square, side).astype(np.float32)
    inverse = _enlarging(size, side)
    return np.einsum("yi,ijc,xj->yxc", inverse, square.astype(np.float32), inverse, optimize=True)


@lru_cache(maxsize=256)
def _enlarging(size: int, side: int) -> np.ndarray:
    """float32 [side, size]"""
    rows = Image.fromarray(np.eye(side, dtype=np.float32)).resize((side, size), Image.Resampling.BICUBIC)
    return np.linalg.pinv(np.asarray(rows, np.float64)).astype(np.float32)


def seen(square: np.ndarray, mask: np.ndarray, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """What a generator may see of a face's square.

    The face is cut out before the square is made smaller, so that nothing of it is in the pixels around the mask.

    Args:
        square: uint8 [S, S, 3].
        mask: bool [S, S], where the face is.

    Returns:
        surroundings uint8 [size_px, size_px, 3], and the mask uint8 [size_px, size_px], 255 in it and 0 outside.
    """
    without = square.copy()
    without[mask] = HIDDEN
    small = resized(mask.astype(np.uint8) * 255, size_px) > 0
    surroundings = resized(without, size_px).copy()
    surroundings[small] = HIDDEN
    return surroundings, small.astype(np.uint8) * 255


def fading(inside: np.ndarray, margin: float) -> np.ndarray:
    """Squared distances as of `Window.inside` -> how much of the new face shows, float32 in [0, 1].

    It fades in the margin alone: within the box's own ellipse nothing of what was there shows.
    """
    whole = max(1 / (1 + margin), 1 - FEATHER)
    if whole >= 1:
        return (inside <= 1).astype(np.float32)
    share = ((1 - np.sqrt(inside)) / (1 - whole)).clip(0, 1)
    return share * share * (3 - 2 * share)


def pose(box: Box, landmarks: Sequence[float] | np.ndarray | None, window: Window) -> np.ndarray:
    """A standard face's landmarks where the given face has its own, float32 [10] in shares of the window's side.

    Place, roll and yaw are the face's; the distances between its features, which tell who it is, are not.
    """
    height = box[3] - box[1]
    roll, yaw = 0.0, 0.0
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 + MIDDLE_BELOW * height
    if landmarks is not None and np.isfinite(landmarks).all():
        points = np.asarray(landmarks, np.float64).reshape(LANDMARKS, 2)
        eyes, across = (points[0] + points[1]) / 2, points[1] - points[0]
        mouth = (points[3] + points[4]) / 2
        x, y = (eyes + mouth) / 2
        roll = math.atan2(across[1], across[0])
        yaw = float((points[2] - (eyes + mouth) / 2) @ across / max(across @ across, 1e-6))
        yaw = min(MOST_YAW, max(-MOST_YAW, yaw))
    (eye_x, eye_y), (mouth_x, mouth_y) = EYES, MOUTH
    flat = [(-eye_x, eye_y), (eye_x, eye_y), (yaw * 2 * eye_x, NOSE), (-mouth_x, mouth_y), (mouth_x, mouth_y)]
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    placed = np.array(flat) * height @ turn + (x - window.left, y - window.top)
    return (placed / window.side).ravel().astype(np.float32)
