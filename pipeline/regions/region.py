"""Regions of an image: where something is, what it is, and how sure a detector is of that."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recast.pipeline.regions import masks

FACE = "face"
"""The kind of region that is a head's front, round within its box."""
BROUGHT = "boxes"
"""The detector of regions that a user's table names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A face, a licence plate, a person: whatever its detector finds. A box, and what more is known of its outline."""

    kind: str
    """`face`, or what a user's boxes call it."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom in pixels of the upright image, right and bottom exclusive."""
    score: float
    """In [0, 1]; 1 for a box that a user brought."""
    detector: str
    landmarks: tuple[float, ...] = ()
    """A face's eyes, nose and corners of the mouth, left to right as the image shows them: x and y of each."""
    identity: str = ""
    """Whose face it is, where a user's table says so."""
    mask: str | None = None
    """The pixels that it takes up: COCO's compressed run-length encoding, of the upright image's height x width (see
    `masks`); None: only its box is known. The box holds all of them (`fitted`)."""
    points: tuple[float, ...] = ()
    """Its keypoints: x, y and visibility (0, 1 or 2, in truth) or score (in predictions) of each."""
    track: str | None = None
    """What is one thing through the images of a sequence or the frames of a clip."""
    category: int | None = None
    """The number of its kind, where its detector or a user's table numbers them."""
    fills_box: bool = False
    """Whether it may reach into the corners of its box, as plates and cars do and faces do not."""

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    def row(self, action: str | None) -> dict[str, Any]:
        """As the index has it (docs/output-format.md); `action` is what was done to it, None for nothing."""
        return {
            "kind": self.kind,
            "box": list(self.box),
            "score": self.score,
            "action": action,
            "detector": self.detector,
            "category": self.category,
            "mask": self.mask,
            "points": list(self.points) or None,
            "track": self.track,
        }


def fitted(region: Region, height: int, width: int) -> Region:
    """The region with a box that holds all of its mask; a mask without any pixel is left out.

    Raises:
        MaskError: the mask can't be read, or is not of an image of that size.
    """
    if region.mask is None:
        return region
    inside = masks.bounding_box(masks.checked(region.mask, height, width), height)
    if inside is None:
        return replace(region, mask=None)
    return replace(region, box=_around(region.box, inside))


def _around(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float, float]:
    """The box around two boxes."""
    return (
        float(min(one[0], other[0])), float(min(one[1], other[1])),
        float(max(one[2], other[2])), float(max(one[3], other[3])),
    )  # fmt: skip


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
"""Boxes, and masks, that overlap so much are of one thing."""


def union(found: Iterable[Sequence[Region]]) -> list[Region]:
    """What several detectors found, regions of one thing joined: none shows less than another.

    Boxes of one thing become the box around them, masks of one thing the pixels that are in any of them. A box without
    a mask and one with a mask stay two regions: the mask may be smaller than what the one stands for, and the other's
    shape (an ellipse in its box) may not hold the mask.

    Raises:
        MaskError: masks are not of one image.
    """
    joined: list[Region] = []
    ordered = sorted((r for regions in found for r in regions), key=lambda r: (-r.score, r.box))
    boxes = np.zeros((len(ordered), 4))  # of those joined so far
    for region in ordered:
        box = np.array([region.box])
        near = np.flatnonzero(overlap(boxes[: len(joined)], box)[:, 0] >= SAME_OVERLAP)
        place = next((n for n in near if _are_one(joined[n], region)), None)
        if place is None:
            boxes[len(joined)] = box
            joined.append(region)
            continue
        joined[place] = _joined(joined[place], region)
        boxes[place] = joined[place].box
    return joined


def _are_one(known: Region, region: Region) -> bool:
    """Whether two regions whose boxes overlap enough are of one thing."""
    if known.kind != region.kind or (known.mask is None) != (region.mask is None):
        return False
    return known.mask is None or region.mask is None or masks.overlap(known.mask, region.mask) >= SAME_OVERLAP


def _joined(known: Region, region: Region) -> Region:
    """Both as one region; what the better one does not know, the other may."""
    return replace(
        known,
        box=_around(known.box, region.box),
        mask=masks.union(known.mask, region.mask) if known.mask and region.mask else None,
        detector="+".join(dict.fromkeys([*known.detector.split("+"), region.detector])),
        points=known.points or region.points,
        track=region.track if known.track is None else known.track,
        category=region.category if known.category is None else known.category,
        fills_box=known.fills_box or region.fills_box,
    )
