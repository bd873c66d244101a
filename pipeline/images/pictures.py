"""Decoded images between the stages of the bulk road."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    further: tuple["Picture | np.ndarray", ...] = ()
    """What else a network takes with it, in the order of its inputs: pictures of the same size, and numbers, float32
    [N]."""

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    def with_pixels(self, pixels: np.ndarray, alpha: np.ndarray | None, note: str = "") -> "Picture":
        """Other pixels under the same profile and metadata; what went into a network with these is no part of it."""
        notes = (*self.notes, note) if note else self.notes
        return replace(self, pixels=pixels, alpha=alpha, notes=notes, further=())


def as_rgb8(pixels: np.ndarray) -> np.ndarray:
    """uint8 or uint16 [H, W, 1 or 3] -> uint8 [H, W, 3]: what detectors, measures and most networks take."""
    eight = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return np.repeat(eight, 3, axis=2) if eight.shape[2] == 1 else eight


def laid_on(ground: int, pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Pixels uint [H, W, C] as they show over a ground, 0 for black and 1 for white, through their alpha [H, W]."""
    opaque, share = np.uint32(np.iinfo(alpha.dtype).max), alpha.astype(np.uint32)[..., None]
    behind = np.uint32(ground * np.iinfo(pixels.dtype).max)
    return ((pixels * share + behind * (opaque - share) + opaque // 2) // opaque).astype(pixels.dtype)


def with_alpha(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Pixels uint [H, W, C] with their alpha, as it is, as one channel more: 2 or 4 of them."""
    return pixels if alpha is None else np.dstack([pixels, alpha.astype(pixels.dtype)])


NARROW = 0.25
"""Values that take up less of what their depth holds are looked at stretched, too."""
OUTLIERS = 0.001
"""Share of the values at either end that may be bad pixels or a border."""


def looks(pixels: np.ndarray, alpha: np.ndarray | None) -> list[np.ndarray]:
    """All that a person may see in an image, as uint8 [H, W, 3]: what detectors must look at.

    The pixels as they are; where some are not opaque, also laid on black and on white, and the alpha channel for itself
    if it is more than an outline; each of these, where its values are few (16-bit files of 8 to 12 bits, night shots),
    also stretched to its own range.
    """
    seen = [pixels]
    if alpha is not None and alpha.min(initial=255) < 255:
        seen += [laid_on(0, pixels, alpha), laid_on(1, pixels, alpha)]
        if ((alpha > 0) & (alpha < np.iinfo(alpha.dtype).max)).any():
            seen.append(alpha[..., None])
    different: list[np.ndarray] = []
    for one in seen:
        for look in [as_rgb8(one), *map(as_rgb8, _stretched(one))]:
            if not any(np.array_equal(look, other) for other in different):
                different.append(look)
    return different


def _stretched(pixels: np.ndarray) -> list[np.ndarray]:
    """The pixels brought to the full range of 8 bits: by their extremes, and by all but outliers where that differs."""
    depth = int(np.iinfo(pixels.dtype).max) + 1
    values = sum((np.bincount(row.reshape(-1), minlength=depth) for row in _strips(pixels)), np.zeros(depth, int))
    filled, below = np.flatnonzero(values), np.cumsum(values)
    if not len(filled):
        return []
    extremes = int(filled[0]), int(filled[-1])
    low, high = (int(np.searchsorted(below, share * below[-1])) for share in (OUTLIERS, 1 - OUTLIERS))
    made: list[np.ndarray] = []
    widest = float(depth)
    for bottom, top in (extremes, (low, high)):
        if bottom < top and top - bottom < NARROW * widest:
            scale = 255 / (top - bottom)
            table = np.rint((np.arange(depth) - bottom) * scale).clip(0, 255).astype(np.uint8)
            made.append(table[pixels])
            widest = top - bottom
    return made


def _strips(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Some megabytes at a time: counting takes eight bytes a value."""
    height = max(1, (1 << 20) // max(1, pixels[:1].size))
    return (pixels[top : top + height] for top in range(0, len(pixels), height))
