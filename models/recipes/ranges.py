"""What a setting may be: ranges that are declared with a field's type and checked when a config is made."""

import dataclasses
import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any

MANY = 10**12


class SettingError(ValueError):
    """A setting that can't be, or something that a recipe needs and wasn't given; the message is for a person."""

    exit_status = 2


@dataclass(frozen=True)
class Within:
    """Numbers from `least` to `most`, never NaN and never infinite."""

    least: float
    most: float = math.inf
    open: bool = False
    """Whether both ends are left out."""

    def __str__(self) -> str:
        if self.open:
            return f"above {self.least:g}" + (f" and below {self.most:g}" if self.most < math.inf else "")
        return f"from {self.least:g} to {self.most:g}" if self.most < MANY else f"at least {self.least:g}"

    def has(self, value: float) -> bool:
        inside = self.least < value < self.most if self.open else self.least <= value <= self.most
        return inside and math.isfinite(value)


Count = Annotated[int, Within(1, MANY)]
"""Steps and the like."""
CountOrNone = Annotated[int, Within(0, MANY)]
Layers = Annotated[int, Within(1, 256)]
LayersOrNone = Annotated[int, Within(0, 256)]
Features = Annotated[int, Within(1, 1 << 14)]
"""Channels of a layer, or numbers of a code."""
Pixels = Annotated[int, Within(1, 1 << 14)]
PixelsOrNone = Annotated[int, Within(0, 1 << 14)]
Positive = Annotated[float, Within(0, open=True)]
Weight = Annotated[float, Within(0)]
"""The range of a loss's weight."""
Share = Annotated[float, Within(0, 1)]
Decay = Annotated[float, Within(0, 1 - 1e-12)]
"""The range of moving averages, Adam's betas and dropout: less than 1."""


def check(config: Any) -> None:
    """Raises SettingError for a number that is out of the range that its field declares."""
    for name, kind in typing.get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        for limits in getattr(kind, "__metadata__", ()):
            if isinstance(limits, Within) and not limits.has(value):
                raise SettingError(f"{name} is {value}; it must be {limits}")


def ranges(config: type[Any]) -> dict[str, Within]:
    """The declared ranges of a config's fields."""
    hints = typing.get_type_hints(config, include_extras=True)
    found = {f.name: getattr(hints[f.name], "__metadata__", ()) for f in dataclasses.fields(config)}
    return {name: limits for name, metadata in found.items() for limits in metadata if isinstance(limits, Within)}
