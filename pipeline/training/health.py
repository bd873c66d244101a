"""Trouble that shows in a training's scalars while they are still finite, each kind with a sentence and advice."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

WAITING = "waiting"
"""Name of the scalar: the share of time that the slowest worker's device waited for examples."""
REAL, GENERATED = "D(x)", "D(G(z))"
"""Names of the scalars: a discriminator's mean output for real and on generated images."""
DIVERSITY = "diversity"
"""Name of the scalar: how varied generated images are, against real ones."""

LINES = 10
"""Logged lines in a row that must show the same trouble before it is said; losses of GANs jump."""
STALEMATE_LINES = 50
ENDING_LINES = {"exploding": 20, "overpowered": 100, "stalemate": 200}
"""Logged lines in a row after which a training has no future, and ends."""
FIRST_LINES = 5
"""What losses are compared with to see them explode."""
EXPLODED = 100.0
"""Times the largest of the first lines."""
CERTAIN = 0.99
SAME = 0.002
UNVARIED = 0.05
STARVED = 0.2
"""Share of the time; a training that waits longer is bound by its data, not by its compute."""


@dataclass(frozen=True)
class HealthWarning:
    """Something that a person should know of before the training ends."""

    kind: str
    """One word: `exploding`, `overpowered`, `stalemate`, `collapse` or `starved`; on resuming, `workers`,
    `damaged`; of examples, `pixels`."""
    step: int
    """Where it was first seen for certain."""
    sentence: str
    """What is wrong, and what helps."""


@dataclass
class HealthMonitor:
    """Looks at each logged line, and says each kind of trouble once."""

    troubles: list[HealthWarning] = field(default_factory=list)
    _lines: int = 0
    _first: dict[str, float] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)

    def look(self, step: int, scalars: Mapping[str, float]) -> list[HealthWarning]:
        """What this line, the next of the training, makes certain that was not said before."""
        self._lines += 1
        found = [
            HealthWarning(kind, step, sentence)
            for kind, sentence, lines in (
                self._exploding(scalars),
                self._overpowered(scalars),
                self._stalemate(scalars),
                self._collapse(scalars),
                self._starved(scalars),
            )
            if self._lasts(kind, bool(sentence), lines) and kind not in {t.kind for t in self.troubles}
        ]
        self.troubles += found
        return found

    def ending(self) -> str:
        """Why the training should end, if it should."""
        for warning in self.troubles:
            if self._rows[warning.kind] >= ENDING_LINES.get(warning.kind, np.inf):
                return f"the training was ended: from step {warning.step:,} on, {warning.sentence}"
        return ""

    def _lasts(self, kind: str, shows: bool, lines: int) -> bool:
        """Whether so many lines in a row have shown it."""
        self._rows[kind] = self._rows.get(kind, 0) + 1 if shows else 0
        return self._rows[kind] >= lines

    def _exploding(self, scalars: Mapping[str, float]) -> tuple[str, str, int]:
        for name, value in scalars.items():
            if name in (WAITING, "lr", "images_per_s"):
                continue
            if self._lines <= FIRST_LINES:
                self._first[name] = max(self._first.get(name, 1.0), abs(value))
            elif abs(value) > EXPLODED * self._first.get(name, np.inf):
                return "exploding", (
                    f"{name} is {value:.3g}, over {EXPLODED:.0f} times what it began with: the training is diverging. "
                    "Lower learning_rate, or weigh this loss less: the same command with --resume-with and the new "
                    "--set resumes from the newest checkpoint (delete those that are too new)"
                ), 3  # fmt: skip
        return "exploding", "", 3

    def _overpowered(self, scalars: Mapping[str, float]) -> tuple[str, str, int]:
        shows = scalars.get(REAL, 0.0) > CERTAIN and scalars.get(GENERATED, 1.0) < 1 - CERTAIN
        return "overpowered", (
            f"the discriminator has won ({REAL} above {CERTAIN}, {GENERATED} below {1 - CERTAIN:.2f}): the generator "
            "hardly learns from it any more. Give D less (a smaller ndf, a lower learning rate), give it more data, or "
            "try adversarial=hinge or wgan-gp"
        ) if shows else "", LINES  # fmt: skip

    def _stalemate(self, scalars: Mapping[str, float]) -> tuple[str, str, int]:
        shows = abs(scalars.get(REAL, np.inf) - scalars.get(GENERATED, 0.0)) < SAME
        return "stalemate", (
            f"the discriminator says the same of real and generated images ({REAL} and {GENERATED} within {SAME}): "
            "unless the samples are perfect it has collapsed. Start again with a lower learning_rate, or another seed"
        ) if shows else "", STALEMATE_LINES  # fmt: skip

    def _collapse(self, scalars: Mapping[str, float]) -> tuple[str, str, int]:
        shows = scalars.get(DIVERSITY, 1.0) < UNVARIED
        return "collapse", (
            f"mode collapse: generated images differ from each other by less than {UNVARIED:.0%} of what real ones do. "
            "Delete the checkpoints since then and resume with --resume-with and a lower learning_rate or larger "
            "batches, or begin again with adversarial=wgan-gp"
        ) if shows else "", LINES  # fmt: skip

    def _starved(self, scalars: Mapping[str, float]) -> tuple[str, str, int]:
        waiting = scalars.get(WAITING, 0.0)
        return "starved", (
            f"workers wait {waiting:.0%} of the time for examples: the training is bound by its data. Give each "
            "worker more CPU cores, use more workers, or store the images nearer to the size they are trained at"
        ) if waiting > STARVED else "", LINES  # fmt: skip


def seen(history: Mapping[str, np.ndarray], steps: np.ndarray) -> list[HealthWarning]:
    """What a monitor would have said of a training's whole history: scalars [N] by name, NaN where there is none."""
    monitor = HealthMonitor()
    for row, step in enumerate(steps.tolist()):
        monitor.look(step, {n: float(v[row]) for n, v in history.items() if np.isfinite(v[row])})
    return monitor.troubles
