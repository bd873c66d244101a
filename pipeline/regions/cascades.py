"""OpenCV's bundled Haar cascades, frontal and profile: old, fast, and blind to other things than networks are.

Viola and Jones 2001; the frontal faces by Rainer Lienhart, the profiles by David Bradley, as OpenCV ships them.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from recast.pipeline.input_errors import raised_by_network
from recast.pipeline.regions.detectors import DetectorSettings
from recast.pipeline.regions.region import FACE, Region

STEP = 1.1
"""Ratio of one scale to the next."""
LEAST_NEIGHBOURS = 3
LEAST_PX = 20
CERTAIN_WEIGHT = 5.0
"""The sum of stage weights at which a detection's score is three quarters."""


class Cascades:
    """Frontal faces, and profiles to both sides."""

    kinds: tuple[str, ...] = (FACE,)

    def __init__(self) -> None:
        folder = cv2.data.haarcascades  # type: ignore[attr-defined]  # cv2 omits it
        self._frontal = cv2.CascadeClassifier(f"{folder}haarcascade_frontalface_default.xml")
        self._profile = cv2.CascadeClassifier(f"{folder}haarcascade_profileface.xml")
        self.name = f"cascades of OpenCV {cv2.__version__}"

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """Faces in images uint8 [H, W, 3]."""
        return [self._found(image) for image in images]

    def _found(self, image: np.ndarray) -> list[Region]:
        grey, width = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)), image.shape[1]
        regions = []
        for cascade, mirrored in ((self._frontal, False), (self._profile, False), (self._profile, True)):
            seen = np.ascontiguousarray(grey[:, ::-1]) if mirrored else grey
            with raised_by_network():
                boxes, _, weights = cascade.detectMultiScale3(
                    seen, STEP, LEAST_NEIGHBOURS, minSize=(LEAST_PX, LEAST_PX), outputRejectLevels=True
                )
            for (x, y, w, h), weight in zip(boxes, np.ravel(weights), strict=True):
                left = width - x - w if mirrored else x
                score = 1 / (1 + math.exp(-math.log(3) * float(weight) / CERTAIN_WEIGHT))
                box = (float(left), float(y), float(left + w), float(y + h))
                regions.append(Region(kind=FACE, box=box, score=score, detector="cascades"))
        return regions


def build(settings: DetectorSettings) -> Cascades:
    """The detector: its scales are OpenCV's own, and it looks at both profiles anyway."""
    return Cascades()
