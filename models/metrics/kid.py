"""Kernel distance of two sets of images, by their features.

Binkowski et al. 2018, "Demystifying MMD GANs" (arXiv:1801.01401), equation 4 and section 4: unlike the Frechet distance
its estimate has no bias, so that a few dozen images tell something.
"""

import numpy as np

DEGREE = 3
"""The exponent of the polynomial kernel (x y / d + 1) ** 3."""


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy of features [N, d] and [M, d].

    It may be below 0 where the sets are much alike. With Inception's features it is the KID; with other features it
    ranks, but is on another scale.

    Raises:
        ValueError: fewer than two images in a set.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError("a kernel distance needs at least two images in each set")
    x, y = one.astype(np.float64), other.astype(np.float64)
    within = [(_kernel(a, a).sum() - np.trace(_kernel(a, a))) / (len(a) * (len(a) - 1)) for a in (x, y)]
    return float(within[0] + within[1] - 2 * _kernel(x, y).mean())


def _kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    values: np.ndarray = (one @ other.T / one.shape[1] + 1) ** DEGREE
    return values
