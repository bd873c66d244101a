"""How a run tells whoever watches it how far it has come, whichever road it is on."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Who watches a run: a terminal, a log, or nobody."""

    def planned(self, total: int, done: int) -> None:
        """So many inputs, or steps, there are in all; `done` of them were done before this run."""
        ...

    def reached(self, done: int, facts: Mapping[str, float]) -> None:
        """This run has done so many inputs, or is at this step; with what else is known by name: `failed` inputs,
        losses, `images_per_s`."""
        ...

    def says(self, sentence: str) -> None:
        """Something that a person should know."""
        ...


class Silent:
    """Nobody watches."""

    def planned(self, total: int, done: int) -> None: ...
    def reached(self, done: int, facts: Mapping[str, float]) -> None: ...
    def says(self, sentence: str) -> None: ...
