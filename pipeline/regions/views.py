"""At which sizes, in which tiles and how closely a detector looks at an image, so that faces of any size are found.

A network knows faces of some 15 to 500 px. Larger ones it finds in the image made smaller; smaller ones in the image
made larger, or, at a tenth of the cost, where it has a faint suspicion at full size, in that place made larger.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from recast.models.sizes import rounded_up

FIRST_STEP, STEP = 0.25, 0.5
LEAST_ENLARGED, MOST_ENLARGED, ENLARGED_PIXELS = 1.5, 3.0, 500_000
"""Small images are looked at enlarged, too, up to so many times and so many pixels."""
SMALLEST_FACE_PX = 8.0
"""Height of the smallest face that is to be found, unless another is asked for."""
RELIABLE_PX = 28
"""Faces of this size are found with scores that tell, grain or not."""
CLOSE_ENOUGH_PX = 14
"""From this size on faces are found at full size and by closer looks."""
LEAST_SIDE_PX = 64
"""The longer side of the smallest reduced image has so many pixels or more."""
TILE_PX = 2048
"""A larger side is looked at in tiles: memory grows with the pixels of one look."""
TILE_OVERLAP_PX = 160
"""More than a face has that no reduced image shows."""
SMALL_PX = 20
"""A face up to this size gets a closer look where its score does not tell."""
CLOSE_PX, CLOSER = 24, 3
"""Side of what is looked at more closely, and how much it is enlarged."""
CELL_PX = CLOSE_PX * CLOSER
MOST_CELLS = 256
"""The most places that one mosaic holds, which bounds its memory."""
PEAK_PX = 6
"""Suspicions closer to each other are of one thing."""
TELLING_SCORE, FAINT_SCORE = 0.5, 0.05
"""Above the one nothing needs a closer look; below the other the size that a network tells means nothing."""
MOST_CLOSER, CLOSER_PER_MP = 16, 16
"""Places of an image that get a closer look: at most so many, or so many for each megapixel."""
BLOCK_PX = 256
"""The best places of each block come first, so that one cluttered corner does not take the looks of all others."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image."""

    left: int
    top: int
    width: int
    height: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, slots=True)
class Scaled:
    """An image as the network is given it."""

    pixels: np.ndarray
    ratio: tuple[float, float]
    """Pixels of the image for one of these, across and down."""


def levels(height: int, width: int, smallest_px: float) -> list[float]:
    """Scales at which an image of this size is looked at: its own, reduced ones, and an enlarged one where it is small
    or faces are to be found that are smaller than those that full size shows."""
    enlarged = max(RELIABLE_PX / smallest_px if smallest_px < CLOSE_ENOUGH_PX else 1, enlargement(height, width))
    scales, scale = [1.0] if enlarged == 1 else [1.0, enlarged], FIRST_STEP
    while max(height, width) * scale >= LEAST_SIDE_PX:
        scales.append(scale)
        scale *= STEP
    return scales


def enlargement(height: int, width: int) -> float:
    """How much a small image is enlarged anyway; 1 for all others."""
    most = min(MOST_ENLARGED, math.sqrt(ENLARGED_PIXELS / (height * width)))
    return most if most >= LEAST_ENLARGED else 1.0


def scaled(image: np.ndarray, scale: float, multiple: int) -> Scaled:
    """An image at a scale, its sides multiples of a number: stretched to that, or, where it is reduced, continued."""
    height, width = image.shape[:2]
    if scale >= 1:
        high, wide = (max(1, -(-int(np.ceil(side * scale)) // multiple)) * multiple for side in (height, width))
        if max(height, width) > TILE_PX and scale == 1:
            pixels = cv2.copyMakeBorder(image, 0, high - height, 0, wide - width, cv2.BORDER_REPLICATE)
            return Scaled(pixels, (1.0, 1.0))
        pixels = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR)
        return Scaled(pixels, (width / wide, height / high))
    high, wide = (max(1, round(side * scale)) for side in (height, width))
    small = cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA)
    down, across = -high % multiple, -wide % multiple
    small = cv2.copyMakeBorder(small, 0, down, 0, across, cv2.BORDER_REPLICATE)
    return Scaled(small, (width / wide, height / high))


def tiles(height: int, width: int, multiple: int, enlarged: float = 1.0) -> list[Window]:
    """Windows that together show all of an image, each of sides that a number divides; smaller and of less overlap
    where they are `enlarged` afterwards, for only small faces are sought there."""
    most, overlap = int(TILE_PX / enlarged), int(TILE_OVERLAP_PX / enlarged)
    rows, columns = _parts(height, multiple, most, overlap), _parts(width, multiple, most, overlap)
    return [Window(left, top, wide, high) for top, high in rows for left, wide in columns]


def _parts(side: int, multiple: int, most: int, overlap: int) -> list[tuple[int, int]]:
    if side <= most:
        return [(0, side)]
    count = -(-(side - overlap) // (most - overlap))
    length = -(-(side + (count - 1) * overlap) // count)
    length = rounded_up(length, multiple)
    return [(round(n * (side - length) / (count - 1)), length) for n in range(count)]


def suspected(rows: np.ndarray, height: int, width: int) -> np.ndarray:
    """Left and top [N, 2] of the places that deserve a closer look: small faces that score too little to tell.

    Args:
        rows: boxes, landmarks and scores [M, …] of the look at full size.
    """
    sides, scores = (rows[:, 2:4] - rows[:, :2]).max(1, initial=0), rows[:, -1]
    rows = rows[((sides <= SMALL_PX) | (scores < FAINT_SCORE)) & (scores < TELLING_SCORE)]
    x, y = ((rows[:, :2] + rows[:, 2:4]) / 2 / PEAK_PX).astype(int).T
    scores = np.zeros((height // PEAK_PX + 1, width // PEAK_PX + 1), np.float32)
    np.maximum.at(scores, (y, x), rows[:, -1])
    y, x = np.nonzero((scores > 0) & (scores == cv2.dilate(scores, np.ones((3, 3), np.uint8))))
    block, score = y * PEAK_PX // BLOCK_PX * (1 + width // BLOCK_PX) + x * PEAK_PX // BLOCK_PX, scores[y, x]
    order = np.lexsort((-score, block))
    firsts = np.searchsorted(block[order], block[order])
    order = order[np.lexsort((-score[order], np.arange(len(order)) - firsts))]
    chosen = order[: max(MOST_CLOSER, round(CLOSER_PER_MP * height * width / 1e6))]
    corners = np.stack([x[chosen], y[chosen]], 1) * PEAK_PX + (PEAK_PX - CLOSE_PX) // 2
    return corners.clip(0, [max(0, width - CLOSE_PX), max(0, height - CLOSE_PX)])


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Places of an image, enlarged, side by side in one picture: a network takes that much faster than each alone."""

    pixels: np.ndarray
    corners: np.ndarray
    """Left and top of each place in the image [N, 2]."""
    columns: int

    def back(self, rows: np.ndarray, points: int) -> np.ndarray:
        """Rows in pixels of the mosaic, the first 2 * `points` numbers of each being places -> in pixels of the image.

        A box belongs to the place that its middle is in.
        """
        middle = (rows[:, :2] + rows[:, 2:4]) / 2
        column, line = (middle // CELL_PX).astype(int).T
        number = line * self.columns + column
        known = (column < self.columns) & (number < len(self.corners))
        rows, number, column, line = rows[known], number[known], column[known], line[known]
        offset = self.corners[number] - np.stack([column, line], 1) * CLOSE_PX
        moved = rows[:, : 2 * points].reshape(len(rows), points, 2) / CLOSER + offset[:, None]
        return np.concatenate([moved.reshape(len(rows), 2 * points), rows[:, 2 * points :]], 1).astype(np.float32)


def mosaics(image: np.ndarray, corners: np.ndarray) -> list[Mosaic]:
    """The places of an image with these corners, at most MOST_CELLS in each mosaic."""
    return [_mosaic(image, corners[n : n + MOST_CELLS]) for n in range(0, len(corners), MOST_CELLS)]


def _mosaic(image: np.ndarray, corners: np.ndarray) -> Mosaic:
    columns = 4 * math.ceil(math.sqrt(len(corners)) / 4)  # 4 cells are a multiple of 32 px
    lines = 4 * math.ceil(len(corners) / columns / 4)
    pixels = np.zeros((lines * CELL_PX, columns * CELL_PX, 3), np.uint8)
    for number, (left, top) in enumerate(corners):
        place = image[top : top + CLOSE_PX, left : left + CLOSE_PX]
        line, column = number // columns * CELL_PX, number % columns * CELL_PX
        side = (place.shape[1] * CLOSER, place.shape[0] * CLOSER)
        enlarged = cv2.resize(place, side, interpolation=cv2.INTER_CUBIC)
        pixels[line : line + side[1], column : column + side[0]] = enlarged
    return Mosaic(pixels, corners, columns)
