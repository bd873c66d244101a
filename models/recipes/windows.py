"""Squares of images, perhaps beyond their borders, brought to one size, and masks within: what detectors learn from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True, slots=True)
class Frame:
    """A square of an image, in its pixels; it may reach beyond the borders."""

    left: float
    top: float
    side: float

    @classmethod
    def whole(cls, height: int, width: int) -> "Frame":
        """All of an image, at the left and the top of the square."""
        return cls(0.0, 0.0, float(max(height, width)))


def frame_of(height: int, width: int, rng: np.random.Generator, *, least: float, most: float) -> Frame:
    """A random square of an image: `least` to `most` of its longer side, its middle anywhere from which it shows no
    more of what lies beyond the borders than it must."""
    side = max(height, width) * rng.uniform(least, most)
    left, top = (rng.uniform(min(0, length - side), max(0, length - side)) for length in (width, height))
    return Frame(left, top, side)


def cut(image: np.ndarray, frame: Frame, size_px: int) -> np.ndarray:
    """What a frame shows of an image uint8 [H, W, 3], [size_px, size_px, 3]; black beyond the borders."""
    scale = size_px / frame.side
    height, width = image.shape[:2]
    spans = [_span(start, length, scale, size_px) for start, length in ((frame.left, width), (frame.top, height))]
    made = np.zeros((size_px, size_px, 3), np.uint8)
    (left, right), (top, bottom) = spans
    if left < right and top < bottom:
        x, y = frame.left, frame.top
        box = (left / scale + x, top / scale + y, right / scale + x, bottom / scale + y)
        inside = tuple(np.clip(box, 0, (width, height, width, height)).tolist())  # rounding may lead out by a hair
        shown = Image.fromarray(image).resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=inside)
        made[top:bottom, left:right] = np.asarray(shown)
    return made


@dataclass(frozen=True, slots=True)
class Silhouette:
    """The pixels of a thing in an image, within the smallest box of whole pixels around its box."""

    pixels: np.ndarray
    """bool [h, w]."""
    left: int
    top: int

    def over(self, box: Sequence[float], bins: int) -> np.ndarray:
        """How much of each bin of a grid over a box of the image is inside, uint8 [bins, bins]: 255 is all of it.

        What lies beyond these pixels is outside; there the grid is cut to them.
        """
        height, width = self.pixels.shape
        left, top, right, bottom = np.subtract(box, (self.left, self.top) * 2).clip(0, (width, height) * 2).tolist()
        if right <= left or bottom <= top:
            return np.zeros((bins, bins), np.uint8)
        whole = Image.fromarray(self.pixels.astype(np.uint8) * 255)
        return np.asarray(whole.resize((bins, bins), Image.Resampling.BILINEAR, box=(left, top, right, bottom)))


def _span(start: float, length: int, scale: float, size_px: int) -> tuple[int, int]:
    """The whole pixels of the square that the image fills along an axis: the first, and the one behind the last."""
    first, last = -start * scale, (length - start) * scale
    return max(0, math.ceil(first - 1e-6)), min(size_px, math.floor(last + 1e-6))
