"""The simplest translator of label maps, for others to beat: every class in its mean colour over the training set."""

from collections.abc import Iterable

import numpy as np

from recast.jobs.samples.facade_layout import Array


class FlatColours:
    """Learns one colour for each label colour from pairs of pictures, uint8 [H, W, 3], and paints with them."""

    def __init__(self, pairs: Iterable[tuple[Array, Array]]) -> None:
        """Args: pairs of a label map and its photograph."""
        sums: dict[int, Array] = {}
        for labels, photo in pairs:
            codes, where = np.unique(_codes(labels), return_inverse=True)
            ones = np.ones(where.size)
            columns = [np.bincount(where.ravel(), photo[..., c].ravel()) for c in range(3)]
            for code, row in zip(codes, np.stack([*columns, np.bincount(where.ravel(), ones)], axis=1), strict=True):
                sums[int(code)] = sums.get(int(code), np.zeros(4)) + row
        self.colours = {code: np.rint(row[:3] / row[3]).astype(np.uint8) for code, row in sums.items()}

    def paint(self, labels: Array) -> Array:
        """A label map in the learned colours; a class that was never seen stays grey."""
        codes, where = np.unique(_codes(labels), return_inverse=True)
        grey = np.full(3, 128, dtype=np.uint8)
        return np.stack([self.colours.get(int(code), grey) for code in codes])[where.reshape(labels.shape[:2])]


def _codes(labels: Array) -> Array:
    """One number for each colour: int64 [H, W]."""
    return labels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
