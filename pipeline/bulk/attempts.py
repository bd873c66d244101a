"""Who is to blame when a worker dies: an image that takes its process with it must not be tried for ever.

A worker can't tell of its own death, so it says beforehand what it takes up. A unit's first attempt is fast, and says
so once; after a death the unit goes through image by image, each announced. An image that was in hand at two deaths of
its unit gets a `crash` row, and the rest of the unit goes on without it.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

FATAL_DEATHS = 2
"""Deaths with an image in hand that condemn it. One may be chance: a node that is lost, memory that another takes."""
MOST_ATTEMPTS = 12
"""Deaths of one unit beyond those that an image is blamed for; then something else is wrong, and the run stops."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known when a worker takes up a unit."""

    number: int = 1
    condemned: frozenset[str] = frozenset()
    """Keys not to be tried again."""

    exhausted: bool = False
    """Whether the unit has died too often for it to be chance, and not because of one image."""

    @property
    def careful(self) -> bool:
        """Whether an earlier attempt died, so that images go one by one."""
        return self.number > 1


class AttemptLog(Protocol):
    """Where workers say what they take up; it outlives them."""

    def begin(self, unit: str) -> Attempt: ...
    def start(self, unit: str, key: str) -> None: ...
    def may_commit(self, unit: str, number: int) -> bool: ...
    def finish(self, unit: str) -> None: ...


@dataclass(slots=True)
class _History:
    attempts: int = 0
    in_hand: str | None = None
    deaths: Counter[str] = field(default_factory=Counter)


class Attempts:
    """The log itself, in memory: a unit that begins again without having been done has died in between."""

    def __init__(self) -> None:
        self._units: dict[str, _History] = {}
        self._done: set[str] = set()

    def begin(self, unit: str) -> Attempt:
        self._done.discard(unit)
        history = self._units.setdefault(unit, _History())
        history.attempts += 1
        if history.in_hand is not None:
            history.deaths[history.in_hand] += 1
            history.in_hand = None
        condemned = frozenset(key for key, deaths in history.deaths.items() if deaths >= FATAL_DEATHS)
        return Attempt(history.attempts, condemned, history.attempts - history.deaths.total() > MOST_ATTEMPTS)

    def start(self, unit: str, key: str) -> None:
        self._units.setdefault(unit, _History()).in_hand = key  # a log that was lost itself begins anew

    def may_commit(self, unit: str, number: int) -> bool:
        """Whether a unit's attempt is the one that counts: a worker that was given up may be alive, and late."""
        history = self._units.get(unit)
        return history.attempts == number if history else unit not in self._done

    def finish(self, unit: str) -> None:
        self._units.pop(unit, None)
        self._done.add(unit)
