"""Squares of images, perhaps beyond their borders, brought to one size: what detectors are trained on."""

import math
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


def _span(start: float, length: int, scale: float, size_px: int) -> tuple[int, int]:
    """The whole pixels of the square that the image fills along an axis: the first, and the one behind the last."""
    first, last = -start * scale, (length - start) * scale
    return max(0, math.ceil(first - 1e-6)), min(size_px, math.floor(last + 1e-6))
