"""What every detector is, and the detectors by name."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipeline.deidentify.regions import Region


class Detector(Protocol):
    """Finds regions in images. Built once in each worker."""

    name: str
    """With its version: a digest of what decides its findings."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """Regions in each image, uint8 [H, W, 3] of one size, whatever their scores; the policy sorts them."""
        ...
