"""Masks as COCO writes them, in compressed run-length encoding (RLE), and what can be computed without unpacking them.

The runs of a mask go down its columns, the leftmost column first, and begin with the pixels outside of the mask (0 of
them where the first pixel is inside). The compressed string holds each run, from the fourth on as its difference from
the run two before it, in groups of 5 bits, the lowest group first, one character a group; bit 6 of a character says
that another group follows, and the sign of a number is that of its last group (cocoapi, `common/maskApi.c`).
"""

import numpy as np

MOST_GROUPS = 7
"""Groups of 5 bits that a run or a difference of runs can take: images have fewer than 2**31 pixels."""
MOST_PIXELS = 2**31 - 1
FIRST_CHARACTER, GROUP_BITS = 48, 5
"""What is added to a group to make it a printable character; and how many bits a group has."""
BLOCK_PX = 256
"""Columns or rows that are dilated at once, which bounds the memory beside the mask."""
MORE, SIGN, VALUE = 0x20, 0x10, 0x1F
"""The bits of a character: another group follows; the number is negative, if this is its last group; its 5 bits."""


class MaskError(ValueError):
    """A mask that can't be read, or is of another image; the message says why."""

    exit_status = 1


def compressed(runs: np.ndarray) -> str:
    """Lengths of runs, int [N] -> COCO's compressed string."""
    numbers = runs.astype(np.int64)
    numbers[3:] -= runs[1:-2]
    groups = (numbers[:, None] >> GROUP_BITS * np.arange(MOST_GROUPS)) & VALUE
    left = numbers[:, None] >> GROUP_BITS * (np.arange(MOST_GROUPS) + 1)
    more = np.where(groups & SIGN, left != -1, left != 0)
    written = np.concatenate([np.ones((len(numbers), 1), bool), more[:, :-1]], 1)
    return (groups + MORE * more + FIRST_CHARACTER)[written].astype(np.uint8).tobytes().decode("ascii")


def runs_of(mask: str) -> np.ndarray:
    """COCO's compressed string -> lengths of runs, int64 [N], none of them negative.

    Memory grows with the length of the string alone, whatever sizes it speaks of.

    Raises:
        MaskError: the string is no run-length encoding.
    """
    try:
        characters = np.frombuffer(mask.encode("ascii"), np.uint8).astype(np.int64) - FIRST_CHARACTER
    except UnicodeEncodeError as fault:
        raise MaskError("its mask has characters that no run-length encoding has") from fault
    if not len(characters):
        raise MaskError("its mask is an empty text")
    if characters.min() < 0 or characters.max() > (MORE | VALUE):
        raise MaskError("its mask has characters that no run-length encoding has")
    last = (characters & MORE) == 0
    if not last[-1]:
        raise MaskError("its mask ends in the middle of a number")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= MOST_GROUPS:
        raise MaskError("its mask has a run that is longer than any image")
    place = np.arange(len(characters)) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((characters & VALUE) << GROUP_BITS * place, starts)
    numbers -= np.where(characters[ends] & SIGN, 1 << GROUP_BITS * (ends - starts + 1), 0)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    if numbers.min() < 0:
        raise MaskError("its mask has a run of a negative length")
    if numbers.max() > MOST_PIXELS or numbers.sum() > MOST_PIXELS:
        raise MaskError("its mask has more pixels than any image")
    return numbers


def runs_between(edges: np.ndarray, pixels: int) -> np.ndarray:
    """Lengths of the runs between ascending edges, from the first pixel to the last; no empty run at the end."""
    ends = edges if len(edges) and edges[-1] == pixels else np.concatenate([edges, [pixels]])
    return np.diff(ends, prepend=0)


def checked(mask: str, height: int, width: int) -> str:
    """The mask. Raises MaskError unless its runs fill an image of that size to the last pixel."""
    pixels = int(runs_of(mask).sum())
    if pixels != height * width:
        raise MaskError(f"its mask has {pixels:,} pixels, and an image of {width} x {height} px has {height * width:,}")
    return mask


def encoded(pixels: np.ndarray) -> str:
    """Whether each pixel is inside, bool [H, W] -> the compressed string."""
    flat = pixels.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return compressed(np.diff(np.concatenate([[0] * (1 + bool(flat[0])), changes, [len(flat)]])))


def placed(pixels: np.ndarray, left: int, top: int, height: int, width: int) -> str:
    """The compressed string for an image of that size, of which a window at that corner has these pixels, bool [h, w],
    inside, and all others are outside. Memory grows with the window, not with the image.
    """
    columns = np.pad(pixels.T, ((0, 0), (1, 1))).astype(np.int8)
    changes = np.diff(columns, axis=1)
    starts, ends = (
        (left + column) * height + top + row for column, row in (np.nonzero(changes == sign) for sign in (1, -1))
    )
    apart = starts[1:] != ends[:-1]  # a run that goes on in the next column is one
    edges = np.stack([starts[np.r_[True, apart][: len(starts)]], ends[np.r_[apart, True][: len(ends)]]], 1).ravel()
    return compressed(runs_between(edges, height * width))


def decoded(mask: str, height: int, window: tuple[int, int, int, int]) -> np.ndarray:
    """Which pixels of a window (left, top, right, bottom) of the image are inside, bool [bottom - top, right - left].

    Memory grows with the window's columns, not with the image. The mask must fit the image (`checked`).
    """
    left, top, right, bottom = window
    ends = runs_of(mask).cumsum().clip(left * height, right * height)
    inside = np.arange(len(ends)) % 2 == 1
    columns = np.repeat(inside, np.diff(ends, prepend=left * height))
    return np.ascontiguousarray(columns.reshape(right - left, height).T[top:bottom])


def area(mask: str) -> int:
    """Pixels inside."""
    return int(runs_of(mask)[1::2].sum())


def bounding_box(mask: str, height: int) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the pixels inside, right and bottom exclusive; None where there are none."""
    starts, ends = _intervals(runs_of(mask))
    if not len(starts):
        return None
    first, last = starts // height, (ends - 1) // height
    if (first != last).any():  # a run that goes on in the next column touches the bottom and the top of the image
        return int(first.min()), 0, int(last.max()) + 1, height
    return int(first.min()), int((starts % height).min()), int(last.max()) + 1, int(((ends - 1) % height).max()) + 1


def union(*masks: str) -> str:
    """The pixels that are in any of several masks of one image. Raises MaskError if they are not of one size."""
    runs = [runs_of(mask) for mask in masks]
    pixels = {int(one.sum()) for one in runs}
    if len(pixels) > 1:
        raise MaskError(f"masks of {' and '.join(f'{count:,}' for count in sorted(pixels))} pixels are of no one image")
    starts, ends = (np.concatenate(sides) for sides in zip(*map(_intervals, runs), strict=True))
    starts, ends = np.sort(starts), np.sort(ends)
    depth_before = np.arange(len(starts)) - np.searchsorted(ends, starts)  # touching runs are one
    depth_after = np.searchsorted(starts, ends, side="right") - np.arange(1, len(ends) + 1)
    edges = np.stack([starts[depth_before == 0], ends[depth_after == 0]], 1).ravel()
    return compressed(runs_between(edges, pixels.pop()))


def overlap(one: str, other: str) -> float:
    """Intersection over union of two masks of one image, in [0, 1]. Raises as `union`."""
    together = area(union(one, other))
    return (area(one) + area(other) - together) / max(together, 1)


def dilated(pixels: np.ndarray, across: int, down: int) -> np.ndarray:
    """Which pixels have one that is inside in an ellipse around them, bool [H, W].

    Args:
        pixels: bool [H, W].
        across, down: the half axes of the ellipse in pixels; 0 and 0 leave the mask as it is.
    """
    height, width = pixels.shape
    distances, grown = np.empty((height, width), np.int32), np.empty((height, width), bool)
    for first in range(0, width, BLOCK_PX):
        block = slice(first, first + BLOCK_PX)
        distances[:, block] = _vertical_distances(pixels[:, block]).clip(max=down + 1)
    half_widths = _half_widths(across, down)
    for first in range(0, height, BLOCK_PX):
        block = slice(first, first + BLOCK_PX)
        grown[block] = _widened(half_widths[distances[block]])
    return grown


def _vertical_distances(pixels: np.ndarray) -> np.ndarray:
    """int [H, W]: from each pixel to the nearest in its column that is inside; more than H where there is none."""
    rows, far = np.arange(len(pixels))[:, None], 2 * len(pixels) + MOST_PIXELS
    above = rows - np.maximum.accumulate(np.where(pixels, rows, -far), 0)
    below = np.minimum.accumulate(np.where(pixels, rows, far)[::-1], 0)[::-1] - rows
    return np.minimum(above, below)


def _half_widths(across: int, down: int) -> np.ndarray:
    """int [down + 2]: half the width of an ellipse at each vertical distance from its middle; -1 beyond its end."""
    widths = across * np.sqrt(1 - (np.arange(down + 1) / max(down, 1)) ** 2)
    return np.concatenate([np.floor(widths + 1e-9).astype(np.int32), np.array([-1], np.int32)])


def _widened(reach: np.ndarray) -> np.ndarray:
    """How far each pixel reaches to the left and right, int [H, W], -1 for nowhere -> which are reached, bool."""
    height, width = reach.shape
    rows, columns = np.nonzero(reach >= 0)
    reach, line = reach[rows, columns], rows * (width + 1)
    count = height * (width + 1)
    steps = np.bincount(line + (columns - reach).clip(0), minlength=count)
    steps -= np.bincount(line + (columns + reach + 1).clip(max=width), minlength=count)
    return steps.reshape(height, width + 1).cumsum(1)[:, :width] > 0


def _intervals(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First pixels of the runs that are inside, and the pixels behind their last ones."""
    edges = runs.cumsum()
    inside = runs[1::2] > 0
    return edges[0::2][: len(inside)][inside], edges[1::2][inside]
