"""Numbers in exported files: no longer than needed, and the same when they are read again."""

from collections.abc import Iterable

import numpy as np


def shortest(value: float) -> float:
    """A value of the index, which keeps 32 bits of it, with the fewest digits that tell it from its neighbours."""
    return float(str(np.float32(value)))


def shortened(values: Iterable[float]) -> list[float]:
    """The same of several."""
    return [shortest(value) for value in values]
