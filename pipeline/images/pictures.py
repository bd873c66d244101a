"""Decoded images between the stages of the bulk road."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Pixels as a person would see them (upright, in RGB or grey), and what goes with them."""

    pixels: np.ndarray
    """uint8 or uint16 [H, W, C], C = 1 (grey) or 3 (RGB), contiguous."""
    alpha: np.ndarray | None = None
    """uint8 [H, W]: opacity, where the image had any."""
    icc: bytes | None = None
    """The colour profile that the pixels are in."""
    exif: bytes | None = None
    """EXIF without orientation (the pixels are upright) and without thumbnail."""
    xmp: bytes | None = None
    """An XMP packet, as it was."""
    notes: tuple[str, ...] = ()
    """What a reader of the result should know: `first of 12 frames`."""
    regions: tuple[dict[str, Any], ...] = ()
    """What was found and replaced: kind, box, score, action; for the index."""
    originals: tuple[tuple[tuple[int, int, int, int], np.ndarray], ...] = ()
    """Boxes (left, top, right, bottom) and the pixels that were in them; for the seals."""

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    def with_pixels(self, pixels: np.ndarray, alpha: np.ndarray | None, note: str = "") -> "Picture":
        return replace(self, pixels=pixels, alpha=alpha, notes=(*self.notes, note) if note else self.notes)


def as_rgb8(pixels: np.ndarray) -> np.ndarray:
    """uint8 or uint16 [H, W, 1 or 3] -> uint8 [H, W, 3]: what detectors, measures and most networks take."""
    eight = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return np.repeat(eight, 3, axis=2) if eight.shape[2] == 1 else eight
