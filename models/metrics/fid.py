"""Frechet distance of two sets of images, by the means and covariances of features."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Moments:
    """Mean and covariance of features, gathered batch by batch; two can be joined."""

    features: int

    def __post_init__(self) -> None:
        self.count = 0
        self._sum = np.zeros(self.features)
        self._products = np.zeros((self.features, self.features))

    def add(self, values: np.ndarray) -> None:
        """Features [N, features] of some more images."""
        values = values.astype(np.float64)
        self.count += len(values)
        self._sum += values.sum(0)
        self._products += values.T @ values

    def join(self, other: "Moments") -> None:
        self.count += other.count
        self._sum += other._sum
        self._products += other._products

    @property
    def mean(self) -> np.ndarray:
        return self._sum / self.count

    @property
    def covariance(self) -> np.ndarray:
        """With N - 1, as numpy.cov and the published FIDs have it."""
        centred = self._products - np.outer(self._sum, self._sum) / self.count
        return centred / (self.count - 1)


def frechet_distance(one: Moments, other: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), Heusel et al. 2017 (arXiv:1706.08500), equation 6.

    With Inception's features it is the FID; with other features it ranks, but is on another scale. The root's trace is
    that of the symmetric C1^1/2 C2 C1^1/2, whose eigenvalues are real and not negative, so nothing is lost to a matrix
    root that has an imaginary part.

    Raises:
        ValueError: fewer than two images in a set.
    """
    if min(one.count, other.count) < 2:
        raise ValueError("a Frechet distance needs at least two images in each set")
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    crossed = np.linalg.eigvalsh(root @ other.covariance @ root).clip(0)
    difference = one.mean - other.mean
    spread = np.trace(one.covariance) + np.trace(other.covariance) - 2 * np.sqrt(crossed).sum()
    return max(0.0, float(difference @ difference + spread))  # rounding takes that of equal sets a little below
