"""What a run has seen of its source's inventory: how much, and on request which keys, so that the rest can go."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from recast.pipeline.output.index import key_hashes
from recast.pipeline.sources.inputs import Input


class InventoryCounts:
    """Counts of the inventory as it streams by, and on request its keys, at 8 bytes each.

    Args:
        keep_keys: keep the keys, and whatever could not be listed.
        doubts: keep the latter alone.
    """

    def __init__(self, *, keep_keys: bool = False, doubts: bool = False) -> None:
        self.inputs = 0
        self.settled = 0
        self._keep_keys, self._doubts = keep_keys, keep_keys or doubts
        self._keys: list[np.ndarray] = []
        self.unlisted: dict[str, str] = {}
        """Beginnings of keys below which the inventory may not have shown all, each with the source to blame."""

    def note(self, items: Sequence[Input], *, settled: int) -> None:
        """So many more inputs went by, some of them settled before."""
        self.inputs += len(items)
        self.settled += settled
        if self._keep_keys:
            self._keys.append(key_hashes(item.key for item in items))
        if self._doubts:
            self.unlisted.update({_hides(item): item.source for item in items if item.problem and _is_whole(item)})

    def gone(self, keys: Sequence[str]) -> np.ndarray:
        """bool for each key: whether the inventory has no such input, and could show that."""
        missing = self._missing(keys)
        for place in np.flatnonzero(missing).tolist() if self.unlisted else ():
            missing[place] = not any(beginning in self.unlisted for beginning in _beginnings(keys[place]))
        return missing

    def doubtful(self, keys: Sequence[str]) -> np.ndarray:
        """bool for each key: whether it may be in something that could not be listed to its end."""
        if not self.unlisted:
            return np.zeros(len(keys), bool)
        return np.array([any(beginning in self.unlisted for beginning in _beginnings(key)) for key in keys], bool)

    def spared(self, keys: Sequence[str]) -> Counter[str]:
        """How many of the keys that are missing may be in something that could not be listed, by its source."""
        found: Counter[str] = Counter()
        for place in np.flatnonzero(self._missing(keys)).tolist():
            hiding = [self.unlisted[b] for b in _beginnings(keys[place]) if b in self.unlisted]
            found.update(hiding[:1])
        return found

    def _missing(self, keys: Sequence[str]) -> np.ndarray:
        assert self._keep_keys
        if len(self._keys) > 1:
            self._keys = [np.sort(np.concatenate(self._keys))]
        hashes = key_hashes(keys)
        return ~np.isin(hashes, self._keys[0]) if self._keys else np.ones(len(hashes), bool)


def _is_whole(item: Input) -> bool:
    """Whether an input with a problem stands for a file or folder as a whole, and not for one member of an archive."""
    return item.layout in ("file", "named")


def _hides(item: Input) -> str:
    """The beginning of the keys that may be behind what could not be listed."""
    if item.alias:
        return ""  # keys that hide names don't tell what lies where
    if item.fingerprint.startswith("damaged:"):  # the rest of the archive that this lies in, by its key
        return item.key[: item.key.rfind("/") + 1]
    return f"{item.key}/"


def _beginnings(key: str) -> Iterator[str]:
    yield ""
    for place, letter in enumerate(key, 1):
        if letter == "/":
            yield key[:place]
