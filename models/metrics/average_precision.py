"""COCO's average precision, for any measure of how alike a thing found and a true one are, to pycocotools' last bit.

Lin et al. 2014 (arXiv:1405.0312) and cocodataset.org's rules: things found are taken best first, each for the unmatched
true one that it is most like, at least by a threshold; precision is made monotone and read at 101 recalls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
SMALL_PX, LARGE_PX, MOST_PX = 32.0**2, 96.0**2, 1e5**2
"""Areas in square pixels below which things are small, and above which large; and more than any has."""
AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0.0, MOST_PX), "small": (0.0, SMALL_PX), "medium": (SMALL_PX, LARGE_PX), "large": (LARGE_PX, MOST_PX),
}  # fmt: skip
SIGMAS = np.array(
    [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89]
) / 10.0  # fmt: skip
"""How far people's own markings of COCO's 17 keypoints scatter, in shares of the root of a person's area."""
CERTAIN = 1 - 1e-10
"""A threshold of 1 is met by what a rounding error keeps below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What became of the things of one category in one image, best first; for each range of areas and threshold."""

    scores: np.ndarray
    """float64 [D]."""
    matched: np.ndarray
    """bool [A, T, D]."""
    ignored: np.ndarray
    """bool [A, T, D]: neither right nor wrong."""
    wanted: np.ndarray
    """int [A]: true things that should be found."""


def matches(
    alike: np.ndarray,
    *,
    scores: np.ndarray,
    areas: np.ndarray,
    true_areas: np.ndarray,
    crowd: np.ndarray,
    unwanted: np.ndarray,
    ranges: Sequence[tuple[float, float]],
    most: int,
) -> Matches:
    """Match what was found in an image to what is there.

    Args:
        alike: float64 [D, G] in [0, 1], of things found and true ones.
        scores, areas: of things found, [D].
        true_areas: of true ones, [G].
        crowd: bool [G]: stands for many, and is matched any number of times.
        unwanted: bool [G]: crowds, and others that need not be found.
        ranges: of areas; true things outside are unwanted, and so are unmatched ones found.
        most: how many of the best are looked at.
    """
    best = np.argsort(-scores, kind="mergesort")[:most]
    alike, scores, areas = alike[best], scores[best], areas[best]
    shape = (len(ranges), len(THRESHOLDS), len(best))
    matched, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    wanted = np.zeros(len(ranges), int)
    for number, (low, high) in enumerate(ranges):
        needless = unwanted | (true_areas < low) | (true_areas > high)
        wanted[number] = np.count_nonzero(~needless)
        taken = _taken(alike, crowd, needless)
        matched[number] = taken >= 0
        ignored[number] = np.where(taken >= 0, np.append(needless, False)[taken], (areas < low) | (areas > high))
    return Matches(scores=scores, matched=matched, ignored=ignored, wanted=wanted)


def _taken(alike: np.ndarray, crowd: np.ndarray, needless: np.ndarray) -> np.ndarray:
    """Which true thing each one found takes at each threshold, int [T, D]; -1: none."""
    found, true = alike.shape
    taken = np.full((len(THRESHOLDS), found), -1)
    if not true:
        return taken
    free = np.ones((len(THRESHOLDS), true), bool)
    least = np.minimum(THRESHOLDS, CERTAIN)[:, None]
    rows = np.arange(len(THRESHOLDS))
    for number in range(found):
        open_ = (free | crowd) & (alike[number] >= least)
        useful = open_ & ~needless  # one that should be found comes before one that need not
        open_ = np.where(useful.any(1)[:, None], useful, open_)
        values = np.where(open_, alike[number], -1.0)
        last = true - 1 - values[:, ::-1].argmax(1)  # of equals the last
        hit = open_.any(1)
        taken[hit, number] = last[hit]
        free[rows[hit], last[hit]] = False
    return taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Precision and recall over many images."""

    precision: np.ndarray
    """float64 [T, 101, K, A, M], by threshold, recall, category, range of areas and number of the best looked at; -1
    where nothing is to be found."""
    recall: np.ndarray
    """float64 [T, K, A, M]."""

    def average(self, *, area: int, most: int, threshold: float | None = None) -> float:
        """The mean precision over categories and recalls, and over thresholds or at one; -1 where there is none."""
        return _mean(_at(self.precision, threshold)[..., area, most])

    def recalled(self, *, area: int, most: int, threshold: float | None = None) -> float:
        """The mean of the greatest recall, likewise."""
        return _mean(_at(self.recall, threshold)[..., area, most])


def curves(by_category: Sequence[Sequence[Matches]], *, ranges: int, most: Sequence[int]) -> Curves:
    """Precision and recall over all images.

    Args:
        by_category: what was matched, for each category in one order of the images, whoever matched them.
        ranges: how many ranges of areas there are.
        most: numbers of the best of an image that are looked at.
    """
    thresholds, recalls = len(THRESHOLDS), len(RECALLS)
    precision = -np.ones((thresholds, recalls, len(by_category), ranges, len(most)))
    recall = -np.ones((thresholds, len(by_category), ranges, len(most)))
    for category, images in enumerate(by_category):
        for area in range(ranges):
            wanted = sum(int(each.wanted[area]) for each in images)
            if not wanted:
                continue
            for place, count in enumerate(most):
                scores = np.concatenate([each.scores[:count] for each in images])
                order = np.argsort(-scores, kind="mergesort")
                matched, ignored = (
                    np.concatenate([getattr(each, name)[area, :, :count] for each in images], axis=1)[:, order]
                    for name in ("matched", "ignored")
                )
                right = np.cumsum(matched & ~ignored, axis=1).astype(float)
                wrong = np.cumsum(~matched & ~ignored, axis=1).astype(float)
                for n in range(thresholds):
                    recall[n, category, area, place], precision[n, :, category, area, place] = _curve(
                        right[n], wrong[n], wanted
                    )
    return Curves(precision=precision, recall=recall)


def _curve(right: np.ndarray, wrong: np.ndarray, wanted: int) -> tuple[float, np.ndarray]:
    """The greatest recall, and precision at 101 recalls, from counts along the things found, best first."""
    recall, precision = right / wanted, right / (wrong + right + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    read = np.zeros(len(RECALLS))
    read[places < len(precision)] = precision[places[places < len(precision)]]
    return float(recall[-1]) if len(recall) else 0.0, read


def _at(values: np.ndarray, threshold: float | None) -> np.ndarray:
    return values if threshold is None else values[np.isclose(THRESHOLDS, threshold)]


def _mean(values: np.ndarray) -> float:
    there = values[values > -1]
    return float(np.mean(there)) if len(there) else -1.0


def box_overlaps(found: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [D, 4] and [G, 4], x, y, width and height -> [D, G]; of crowds, intersection
    over the area of what was found. In the order of operations of COCO's `bbIou`.
    """
    x, y, w, h = (found[:, None, n] for n in range(4))
    left, top, wide, high = (true[None, :, n] for n in range(4))
    across = np.minimum(w + x, wide + left) - np.maximum(x, left)
    down = np.minimum(h + y, high + top) - np.maximum(y, top)
    meet = (across > 0) & (down > 0)
    shared = across * down
    together = np.where(crowd[None], w * h, w * h + wide * high - shared)
    return np.where(meet, shared / np.where(meet, together, 1.0), 0.0)


def keypoint_likeness(
    found: np.ndarray, true: np.ndarray, boxes: np.ndarray, areas: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """COCO's object keypoint similarity of keypoints [D, K, 3] and true ones [G, K, 3] -> [D, G].

    Args:
        boxes: of the true things, x, y, width and height, [G, 4]; one without labelled keypoints is like whatever lies
            near its box.
        areas: of the true things, [G].
        sigmas: [K].
    """
    alike = np.zeros((len(found), len(true)))
    spread = (sigmas * 2) ** 2
    for column, (points, box, area) in enumerate(zip(true, boxes, areas, strict=True)):
        labelled = points[:, 2] > 0
        x, y = found[:, :, 0], found[:, :, 1]
        if labelled.any():
            dx, dy = x - points[:, 0], y - points[:, 1]
        else:
            low, high = box[:2] - box[2:], box[:2] + box[2:] * 2
            dx = np.maximum(0, low[0] - x) + np.maximum(0, x - high[0])
            dy = np.maximum(0, low[1] - y) + np.maximum(0, y - high[1])
        off = (dx**2 + dy**2) / spread / (area + np.spacing(1)) / 2
        counted = off[:, labelled] if labelled.any() else off
        for row, errors in enumerate(np.ascontiguousarray(counted)):
            alike[row, column] = np.sum(np.exp(-errors)) / len(errors)
    return alike
