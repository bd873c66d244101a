"""What every detector is; and what those have in common that look at an image at several scales, and mirrored."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from recast.models.faces import FACE_COLUMNS, LANDMARKS, MIRRORED
from recast.pipeline.deidentify.regions import Region, suppressed


class Detector(Protocol):
    """Finds regions in images. Built once in each worker."""

    name: str
    """With its version: a digest of what decides its findings."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """Regions in each image, uint8 [H, W, 3] of one size, whatever their scores; the policy sorts them."""
        ...


class DetectorMissingError(Exception):
    """A detector that can't be had on this machine; the message says how to get it."""

    exit_status = 1


class FaceNetwork(ABC):
    """Faces by a network that takes batches: at one or several scales of the images, and mirrored, where asked."""

    name: str
    multiple = 32
    """Images are stretched to sizes that this divides."""
    overlap = 0.4
    """Of two faces that overlap so much, the better one stays."""

    def __init__(self, label: str, scales: Sequence[float], *, mirrored: bool) -> None:
        """`label`: what its regions call it."""
        self._label, self._scales, self._mirrored = label, tuple(scales), mirrored

    @abstractmethod
    def _rows(self, batch: np.ndarray) -> list[np.ndarray]:
        """Images uint8 [N, H, W, 3] -> each one's boxes, landmarks and scores, float32 [faces, FACE_COLUMNS + 1]."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """Faces in images uint8 [H, W, 3] of one size."""
        found: list[list[np.ndarray]] = [[] for _ in images]
        for scale in self._scales:
            for mirrored in (False, True) if self._mirrored else (False,):
                for rows, more in zip(found, self._at(images, scale, mirrored), strict=True):
                    rows.append(more)
        return [self._regions(np.concatenate(rows)) for rows in found]

    def _at(self, images: Sequence[np.ndarray], scale: float, mirrored: bool) -> list[np.ndarray]:
        height, width = images[0].shape[:2]
        high, wide = (
            max(1, -(-int(np.ceil(side * scale)) // self.multiple)) * self.multiple for side in (height, width)
        )
        batch = np.stack([cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR) for image in images])
        found = self._rows(np.ascontiguousarray(batch[:, :, ::-1]) if mirrored else batch)
        ratio = np.tile(np.array([width / wide, height / high], np.float32), FACE_COLUMNS // 2)
        for rows in found:
            if mirrored:
                rows[:, :4] = np.stack([wide - rows[:, 2], rows[:, 1], wide - rows[:, 0], rows[:, 3]], 1)
                points = rows[:, 4:FACE_COLUMNS].reshape(-1, LANDMARKS, 2)[:, list(MIRRORED)]
                rows[:, 4:FACE_COLUMNS] = (points * (-1, 1) + (wide, 0)).reshape(len(rows), -1)
            rows[:, :FACE_COLUMNS] *= ratio
        return found

    def _regions(self, rows: np.ndarray) -> list[Region]:
        kept = rows[suppressed(rows[:, :4], rows[:, -1], self.overlap)]
        return [
            Region(
                kind="face",
                box=(float(row[0]), float(row[1]), float(row[2]), float(row[3])),
                score=float(row[-1]),
                detector=self._label,
                landmarks=tuple(map(float, row[4:FACE_COLUMNS])),
            )
            for row in kept
        ]
