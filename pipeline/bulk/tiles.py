"""Large images in tiles: how an axis is cut, and how the tiles' results are laid together again."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recast.models.descriptor import Descriptor
from recast.models.sizes import rounded_up

CORE_PX = 768
"""What a tile adds to the result along each side, at most; the halo that decides its pixels comes on top. Half of
it for generators that enlarge four times, many of which work at the result's size."""
SMALL_PIXELS = 5 << 18
"""Up to this many pixels (1280 x 1024) an image goes through whole: it takes no more memory than a tile with a halo.
This and the next are for scales up to 2; beyond, what counts is the result's pixels over 4."""
WHOLE_PIXELS = 2 << 20
"""Up to this many pixels a generator that looks at the whole image gets it whole."""
BLEND_MARGIN_PX, BLEND_RAMP_PX = 32, 64
"""Pixels of such a generator's tiles that are thrown away at inner borders, and that fade into the neighbour."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One step along an axis: take `[start, stop)` of the input, keep `[keep_start, keep_stop)` of the result."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a generator's large images are cut: `side` a tile, of which `margin` is dropped and `ramp` is blended."""

    side: int
    margin: int
    ramp: int
    multiple: int

    def axis(self, length: int) -> Iterator[Tile]:
        """Cut an axis of `length` input pixels.

        Tiles begin at multiples of `multiple`, so that strided networks see each pixel in the same phase as in the
        whole, and all have the same side once padded to that multiple, so that they can go through in batches.
        """
        end = rounded_up(length, self.multiple)
        start = keep = 0
        while start + self.side < end:
            stop = start + self.side
            yield Tile(start, stop, keep, stop - self.margin)
            keep = stop - self.margin - self.ramp
            start = min((keep - self.margin) // self.multiple * self.multiple, end - self.side)
        yield Tile(start, length, keep, length)


def tiling(descriptor: Descriptor, height: int, width: int) -> Tiling | None:
    """The way to cut an image of this size, or None where it goes through whole."""
    multiple = descriptor.size_multiple
    enlarged = max(2, descriptor.scale) / 2
    if height * width * enlarged**2 <= (WHOLE_PIXELS if descriptor.halo_px is None else SMALL_PIXELS):
        return None
    if descriptor.halo_px is not None:
        margin, ramp = rounded_up(descriptor.halo_px, multiple), 0
    else:
        margin, ramp = BLEND_MARGIN_PX, BLEND_RAMP_PX
    core = int(CORE_PX / enlarged)
    side = rounded_up(max(core + 2 * margin + ramp, descriptor.min_size_px), multiple)
    return Tiling(side, margin, ramp, multiple) if max(height, width) > side else None


def lay(canvas: np.ndarray, piece: np.ndarray, at: int, fade: int) -> None:
    """Put a piece on the canvas from row `at` on; its first `fade` rows fade in over what lies there already."""
    if fade:
        share = ((np.arange(fade, dtype=np.float32) + 0.5) / fade)[:, None, None]
        before = canvas[at : at + fade].astype(np.float32)
        canvas[at : at + fade] = np.rint(before + (piece[:fade] - before) * share)
    canvas[at + fade : at + len(piece)] = piece[fade:]
