"""How alike things found and true ones are, by their boxes, masks or keypoints, and COCO's numbers of that."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recast.models.metrics.average_precision import (
    AREAS,
    SIGMAS,
    Matches,
    box_overlaps,
    curves,
    keypoint_likeness,
    matches,
)
from recast.pipeline.regions import masks

MOST_BOXES, MOST_PEOPLE = (1, 10, 100), (20,)
"""How many of the best of an image and a category are looked at, for boxes and masks; and for keypoints."""
SIGMA = 0.05
"""For keypoints that are not COCO's 17 of a person, of which nobody has measured how far markings scatter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One thing, found or true."""

    box: tuple[float, float, float, float]
    """x, y, width and height in pixels."""
    area: float
    score: float = 1.0
    mask: str | None = None
    points: tuple[float, ...] = ()
    crowd: bool = False


Alike = tuple[np.ndarray, np.ndarray, np.ndarray]
"""How alike things found and true ones are [D, G], the areas of those found [D], and which true ones need not be found
besides crowds [G]."""


@dataclass(kw_only=True)
class Measure:
    """A measure of how alike things are, and what was matched by it."""

    ranges: Sequence[str] = tuple(AREAS)
    most: Sequence[int] = MOST_BOXES
    by_category: dict[str, dict[int, Matches]] = field(default_factory=lambda: defaultdict(dict))
    """Matches by category, and by the number that the truth gives the image."""
    left_out: int = 0
    """Things found that it can't judge."""

    def add(self, category: str, image: int, found: Sequence[Thing], true: Sequence[Thing]) -> None:
        """Match what was found of a category in an image to what is there of it."""
        judged = [thing for thing in found if self.can_judge(thing)]
        self.left_out += len(found) - len(judged)
        if not judged and not true:
            return
        crowd = np.array([thing.crowd for thing in true], bool)
        alike, areas, spared = self.alike(judged, true)
        self.by_category[category][image] = matches(
            alike, scores=np.array([thing.score for thing in judged]), areas=areas,
            true_areas=np.array([thing.area for thing in true]), crowd=crowd, unwanted=crowd | spared,
            ranges=[AREAS[name] for name in self.ranges], most=self.most[-1],
        )  # fmt: skip

    def can_judge(self, thing: Thing) -> bool:
        return True

    def alike(self, found: Sequence[Thing], true: Sequence[Thing]) -> Alike:
        """Compare things by their boxes."""
        seen, crowd = _boxes(found), np.array([thing.crowd for thing in true], bool)
        return box_overlaps(seen, _boxes(true), crowd), seen[:, 2] * seen[:, 3], np.zeros(len(true), bool)

    def numbers(self, categories: Sequence[str]) -> dict[str, Any]:
        """COCO's numbers, and the average precision of each category; None where there is nothing to find."""
        of_categories = [[of[n] for n in sorted(of)] for of in (self.by_category.get(name, {}) for name in categories)]
        made = curves(of_categories, ranges=len(self.ranges), most=self.most)
        sizes = list(enumerate(self.ranges))[1:]
        found = {
            "AP": made.average(area=0, most=-1),
            "AP50": made.average(area=0, most=-1, threshold=0.5),
            "AP75": made.average(area=0, most=-1, threshold=0.75),
            **{f"AP {name}": made.average(area=n, most=-1) for n, name in sizes},
            **{f"AR {count}": made.recalled(area=0, most=n) for n, count in enumerate(self.most)},
            **{f"AR {name}": made.recalled(area=n, most=-1) for n, name in sizes},
        }
        each = {
            name: curves([of], ranges=len(self.ranges), most=self.most).average(area=0, most=-1)
            for name, of in zip(categories, of_categories, strict=True)
        }
        return {**_known(found), "by_category": _known(each)}


@dataclass(kw_only=True)
class MaskMeasure(Measure):
    """The measure by masks; what was found without one can't be judged."""

    def can_judge(self, thing: Thing) -> bool:
        return thing.mask is not None

    def alike(self, found: Sequence[Thing], true: Sequence[Thing]) -> Alike:
        overlaps = np.zeros((len(found), len(true)))
        near = box_overlaps(_boxes(found), _boxes(true), np.zeros(len(true), bool)) > 0
        areas = np.array([float(masks.area(thing.mask or "")) for thing in found])
        for row, column in np.argwhere(near).tolist():
            one, other = found[row], true[column]
            if other.mask is None or one.mask is None:
                continue
            area, together = masks.area(other.mask), masks.area(masks.union(one.mask, other.mask))
            shared = areas[row] + area - together
            overlaps[row, column] = shared / (areas[row] if other.crowd else together)
        return overlaps, areas, np.array([thing.mask is None for thing in true], bool)


@dataclass(kw_only=True)
class PointMeasure(Measure):
    """The measure by keypoints; what was found with another number of them can't be judged."""

    ranges: Sequence[str] = ("all", "medium", "large")
    most: Sequence[int] = MOST_PEOPLE
    points: int
    """How many keypoints each thing has."""

    @property
    def sigmas(self) -> np.ndarray:
        return SIGMAS if self.points == len(SIGMAS) else np.full(self.points, SIGMA)

    def can_judge(self, thing: Thing) -> bool:
        return len(thing.points) == 3 * self.points

    def alike(self, found: Sequence[Thing], true: Sequence[Thing]) -> Alike:
        placed, there = (self._points(some) for some in (found, true))
        areas = np.array([thing.area for thing in true])
        spans = placed[..., :2].max(1) - placed[..., :2].min(1)
        return (
            keypoint_likeness(placed, there, _boxes(true), areas, self.sigmas),
            spans[:, 0] * spans[:, 1],
            np.logical_not((there[..., 2] > 0).any(1)),
        )

    def _points(self, things: Sequence[Thing]) -> np.ndarray:
        """[N, points, 3]; none labelled where a thing has none."""
        nothing = (0.0,) * (3 * self.points)
        rows = [thing.points if self.can_judge(thing) else nothing for thing in things]
        return np.array(rows, float).reshape(-1, self.points, 3)


def _boxes(things: Sequence[Thing]) -> np.ndarray:
    return np.array([thing.box for thing in things], float).reshape(-1, 4)


def _known(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if value >= 0 else None for name, value in numbers.items()}
