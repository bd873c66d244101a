"""Rows of a table, found by the keys of inputs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from recast.pipeline.output.index import key_hashes
from recast.pipeline.sources.endings import without_ending

HASHED_AT_ONCE = 8192


class KeyedRows:
    """A table with a column `key`, by which its rows are found. Memory: what its columns take, and 32 bytes a row.

    An input has the row of its key; if there is none, the one row whose key differs in nothing but the ending of an
    image (`a.png` for `a.jpg`).
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._exact = _Places.of(_texts(rows["key"]))
        self._stems = _Places.of(map(without_ending, _texts(rows["key"])))

    def __len__(self) -> int:
        return len(self._rows)

    def twice(self) -> str | None:
        """A key that several rows have."""
        place = self._exact.twice()
        return None if place is None else str(self._rows["key"][place])

    def all(self) -> Iterator[dict[str, Any]]:
        """Every row, in their order."""
        for batch in self._rows.to_batches(max_chunksize=HASHED_AT_ONCE):
            yield from batch.to_pylist()

    def of(self, keys: Sequence[str]) -> list[dict[str, Any] | None]:
        """The row of each key; None for a key that has none."""
        exact = self._exact.find(keys)
        places = np.where(exact < 0, self._stems.find(map(without_ending, keys)), exact)
        found = iter(self._rows.take(pa.array(places[places >= 0])).to_pylist())
        return [next(found) if place >= 0 else None for place in places]


@dataclass(frozen=True, slots=True)
class _Places:
    """Hashes of texts in order, each beside the row that it is of. Two of 64 bits are alike with odds of 2^-64."""

    hashes: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[str]) -> "_Places":
        hashes = key_hashes(texts)
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], order)

    def find(self, texts: Iterable[str]) -> np.ndarray:
        """For each text the row that alone has it; -1 where none has, or several."""
        wanted = key_hashes(texts)
        first, last = (np.searchsorted(self.hashes, wanted, side) for side in ("left", "right"))
        rows = np.full(len(wanted), -1)
        alone = last - first == 1
        rows[alone] = self.rows[first[alone]]
        return rows

    def twice(self) -> int | None:
        """A row whose text another one has, too."""
        again = np.flatnonzero(self.hashes[1:] == self.hashes[:-1])
        return int(self.rows[again[0]]) if len(again) else None


def _texts(keys: pa.ChunkedArray) -> Iterator[str]:
    starts = range(0, len(keys), HASHED_AT_ONCE)
    return chain.from_iterable(keys.slice(start, HASHED_AT_ONCE).to_pylist() for start in starts)
