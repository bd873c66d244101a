"""Regions of an image that show what must not be shown: where, what, and how sure a detector is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

BROUGHT = "boxes"
"""The detector of regions that a user's table names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A box around a face, a licence plate, a person: whatever its detector finds."""

    kind: str
    """`face`, or what a user's boxes call it."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom in pixels of the upright image, right and bottom exclusive."""
    score: float
    """In [0, 1]; 1 for a box that a user brought."""
    detector: str
    landmarks: tuple[float, ...] = ()
    """Of a face: x and y of the eyes, the nose and the corners of the mouth, left to right as the image shows them."""
    identity: str = ""
    """Whose face it is, where a user's table says so."""

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [N, 4] and [M, 4] -> [N, M]."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1) for boxes in (one, other)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def suppressed(boxes: np.ndarray, scores: np.ndarray, limit: float) -> np.ndarray:
    """Row numbers of the boxes [N, 4] that stay, best first, when those that overlap a better one by `limit` go."""
    left, kept = np.argsort(-scores, kind="stable"), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[overlap(boxes[best : best + 1], boxes[left])[0] < limit]
    return np.array(kept, int)


SAME_OVERLAP = 0.5
"""Boxes that overlap so much are of one thing."""


def union(found: Iterable[Sequence[Region]]) -> list[Region]:
    """What several detectors found, boxes of one thing joined to the box around them: none shows less than another."""
    joined: list[Region] = []
    ordered = sorted((r for regions in found for r in regions), key=lambda r: (-r.score, r.box))
    boxes = np.zeros((len(ordered), 4))  # of those joined so far
    for region in ordered:
        box = np.array([region.box])
        near = np.flatnonzero(overlap(boxes[: len(joined)], box)[:, 0] >= SAME_OVERLAP)
        place = next((n for n in near if joined[n].kind == region.kind), None)
        if place is None:
            boxes[len(joined)] = box
            joined.append(region)
            continue
        known = joined[place]
        low, high = np.minimum(boxes[place], box)[0, :2], np.maximum(boxes[place], box)[0, 2:]
        boxes[place] = *low, *high
        joined[place] = replace(
            known,
            box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
            detector="+".join(dict.fromkeys([*known.detector.split("+"), region.detector])),
        )
    return joined
