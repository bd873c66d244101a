"""What every detector is; and what those have in common that look at an image at several sizes, and mirrored."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recast.models.description import Bundle
from recast.models.faces import FACE_COLUMNS, mirrored
from recast.pipeline.regions.masks import MaskError
from recast.pipeline.regions.region import FACE, Region, fitted, suppressed, union
from recast.pipeline.regions.views import (
    CLOSE_ENOUGH_PX,
    SMALLEST_FACE_PX,
    Window,
    enlargement,
    levels,
    mosaics,
    scaled,
    suspected,
    tiles,
)

LEAST_SCORE = 0.05
"""Lower ones are noise, whatever the policy."""
LEAST_CANDIDATE = 0.005
"""Lower ones are not even worth a closer look."""
LEAST_CLOSER_SCORE = 0.25
"""A closer look finds real faces by more than that; below it denies the suspicion."""


class Detector(Protocol):
    """Finds regions in images. Built once in each worker."""

    name: str
    """With its version: a digest of what decides its findings."""
    kinds: tuple[str, ...]
    """The kinds of regions that it finds."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """Regions in each image, uint8 [H, W, 3] of one size, whatever their scores; the policy sorts them.

        Raises:
            NotFiniteError: its scores or boxes are not finite numbers, so that nobody knows what is there.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class DetectorSettings:
    """How closely detectors look, and on what: a detector takes what it has a use for."""

    scales: tuple[float, ...] = ()
    """Sizes at which an image is looked at, relative to its own; empty: those that its size asks for."""
    mirrored: bool = False
    """Whether each image's mirror image is looked at, too."""
    smallest_px: float = SMALLEST_FACE_PX
    """Height in pixels of the smallest face that is to be found, where no scales are given."""
    device: str = "cpu"
    """Where networks run."""
    least_score: float | None = None
    """Networks of things tell all that they score so much or more, whatever floor a bundle states; None: its floor."""


class OfKinds:
    """A detector of which only regions of some kinds count."""

    def __init__(self, detector: Detector, kinds: Sequence[str]) -> None:
        self._detector, self.kinds = detector, tuple(kind for kind in detector.kinds if kind in kinds)
        self.name = f"{detector.name} for {', '.join(self.kinds)}"

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        return [[region for region in found if region.kind in self.kinds] for found in self._detector(images)]


def name_of(bundle: Bundle) -> str:
    """What the detector that a bundle holds is called, and its regions say."""
    return f"{bundle.network} {bundle.digest}"


class DetectorMissingError(Exception):
    """A detector that can't be had on this machine; the message says how to get it."""

    exit_status = 1


class NotFiniteError(Exception):
    """A detector gave NaN, infinity or a mask of another image: that is no `nothing found`."""


class FaceNetwork(ABC):
    """Faces by a network that takes batches: at several sizes of the images, and mirrored, where asked."""

    name: str
    kinds: tuple[str, ...] = (FACE,)
    multiple = 32
    """Images are given to the network at sizes that this divides."""
    overlap = 0.4
    """When two faces of one look overlap so much, only the better one is kept."""

    def __init__(self, label: str, scales: Sequence[float], *, mirrored: bool, smallest_px: float) -> None:
        """`label`: what its regions call it. `scales`: at which it looks; empty: those that an image's size and the
        smallest face that is to be found ask for."""
        self._label, self._scales, self._mirrored = label, tuple(scales), mirrored
        self._smallest_px = smallest_px

    @abstractmethod
    def _rows(self, batch: np.ndarray) -> list[np.ndarray]:
        """Images uint8 [N, H, W, 3] -> each one's boxes, landmarks and scores, float32 [faces, FACE_COLUMNS + 1], those
        that score LEAST_CANDIDATE or more. Raises NotFiniteError.
        """

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """Faces in images uint8 [H, W, 3] of one size."""
        found: list[list[list[Region]]] = [[] for _ in images]
        for looks in self._looks(images):
            for regions, rows in zip(found, looks, strict=True):
                regions.append(self._regions(rows))
        return [union(regions) for regions in found]

    def _looks(self, images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """The rows of each image, look by look, in pixels of the image."""
        height, width = images[0].shape[:2]
        scales = self._scales or levels(height, width, self._smallest_px)
        for scale in scales:
            for in_mirror in (False, True) if self._mirrored else (False,):
                seen = [np.ascontiguousarray(image[:, ::-1]) for image in images] if in_mirror else images
                looks = self._enlarged(seen, scale) if scale > 1 else self._at(seen, scale)
                yield [mirrored(rows, width) for rows in looks] if in_mirror else looks
                if scale == 1 and not in_mirror and not self._scales and self._smallest_px >= CLOSE_ENOUGH_PX:
                    yield [self._closer(image, rows) for image, rows in zip(images, looks, strict=True)]

    def _at(self, images: Sequence[np.ndarray], scale: float) -> list[np.ndarray]:
        """What is found in images brought to a scale; where they are large, tile by tile."""
        height, width = images[0].shape[:2]
        small = [scaled(image, scale, self.multiple) for image in images]
        parts: list[list[np.ndarray]] = [[] for _ in images]
        high, wide = small[0].pixels.shape[:2]
        for tile in tiles(high, wide, self.multiple):
            batch = np.stack([tile.of(one.pixels) for one in small])
            for one, rows, part in zip(small, self._checked(batch), parts, strict=True):
                part.append(_within(_moved(rows, tile, one.ratio), width, height))
        return [np.concatenate(rows) for rows in parts]

    def _enlarged(self, images: Sequence[np.ndarray], scale: float) -> list[np.ndarray]:
        """What is found in images made larger, part by part: all of a large one would not fit into memory.

        In images that are not small themselves only small faces are sought so, and these score enough to tell.
        """
        height, width = images[0].shape[:2]
        least = 0.0 if self._scales or enlargement(height, width) > 1 else LEAST_CLOSER_SCORE
        parts: list[list[np.ndarray]] = [[] for _ in images]
        for tile in tiles(height, width, 1, enlarged=scale):
            for rows, part in zip(self._at([tile.of(image) for image in images], scale), parts, strict=True):
                part.append(_moved(rows[rows[:, -1] >= least], tile))
        return [_within(np.concatenate(rows), width, height) for rows in parts]

    def _checked(self, batch: np.ndarray) -> list[np.ndarray]:
        """The rows of each image. Raises NotFiniteError."""
        found = self._rows(batch)
        finite(self._label, *found)
        return found

    def _closer(self, image: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What is found where the look at full size gave a small face too low a score to tell."""
        height, width = image.shape[:2]
        found = [rows[:0]]
        for mosaic in mosaics(image, suspected(rows, height, width)):
            (more,) = self._checked(mosaic.pixels[None])
            found.append(
                _within(mosaic.back(more[more[:, -1] >= LEAST_CLOSER_SCORE], FACE_COLUMNS // 2), width, height)
            )
        return np.concatenate(found)

    def _regions(self, rows: np.ndarray) -> list[Region]:
        rows = rows[rows[:, -1] >= LEAST_SCORE]
        return [
            Region(
                kind=FACE,
                box=(float(row[0]), float(row[1]), float(row[2]), float(row[3])),
                score=float(row[-1]),
                detector=self._label,
                landmarks=tuple(map(float, row[4:FACE_COLUMNS])),
            )
            for row in rows[suppressed(rows[:, :4], rows[:, -1], self.overlap)]
        ]


def finite(of: str, *values: np.ndarray) -> None:
    """Raises NotFiniteError unless all values are numbers: comparisons would pass NaN over in silence."""
    if not all(np.isfinite(some).all() for some in values):
        raise NotFiniteError(f"{of} gives values that are not finite numbers")


def numbered(region: Region, height: int, width: int) -> Region:
    """The region, its box holding all of its mask.

    Raises:
        NotFiniteError: its score, box or points are no numbers, its box holds nothing, or its mask is none of an image
            of that size.
    """
    finite(region.detector, np.array((region.score, *region.box, *region.points)))
    if not (region.width > 0 and region.height > 0):
        raise NotFiniteError(f"{region.detector} gives a box without an inside")
    try:
        return fitted(region, height, width)
    except MaskError as fault:
        raise NotFiniteError(f"{region.detector} gives a region that can't be used, for {fault}") from fault


def _moved(rows: np.ndarray, window: Window, ratio: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Rows in pixels of a window -> in pixels of the image, of which each pixel around the window is so many."""
    places = rows[:, :FACE_COLUMNS].reshape(len(rows), FACE_COLUMNS // 2, 2)
    moved = (places + np.array((window.left, window.top))) * ratio
    return np.concatenate([moved.reshape(len(rows), FACE_COLUMNS), rows[:, FACE_COLUMNS:]], 1).astype(np.float32)


def _within(rows: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes cut at the image's edges; those of the padding alone are gone."""
    rows[:, :4] = rows[:, :4].clip(0, [width, height, width, height])
    return rows[(rows[:, 2] - rows[:, 0] > 0) & (rows[:, 3] - rows[:, 1] > 0)]
