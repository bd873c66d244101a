"""What a generator takes and gives, stated once so that nothing downstream has to guess."""

import math
import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from recast.models.looks import Looks

InputKind = Literal["image", "labels", "points", "code", "noise", "previous"]
"""What an input of a network holds: pixels; a class for each pixel; places in the image; numbers that say what is
wanted; numbers that are drawn; the result before this one, in a sequence."""
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""What tasks and inputs are called."""
MOST_CHANNELS = {"image": 4, "previous": 4, "labels": 256, "points": 1 << 14, "code": 1 << 14, "noise": 1 << 14}
"""The most that an input of a kind may have: images have four channels, label maps are read at 8 bits."""


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """One thing that a network takes.

    Raises:
        ValueError: a value is out of its range.
    """

    name: str
    kind: InputKind
    channels: int = 3
    """An image's channels, the classes of labels, how many points, or the numbers of a code or of noise."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """For an image the values that uint8 0 and 255 become; else the least and the greatest value."""

    @property
    def has_pixels(self) -> bool:
        """Whether it is as large as the image: planes [N, C, H, W] for the network, where others are rows [N, L]."""
        return self.kind in ("image", "labels", "previous")

    @property
    def numbers(self) -> int:
        """The length of a row: x and y of each point, or the channels of a code or of noise."""
        return 2 * self.channels if self.kind == "points" else self.channels

    def __post_init__(self) -> None:
        _check_word("an input's name", self.name)
        if self.kind not in get_args(InputKind):
            raise ValueError(f"the input {self.name} is of the kind {self.kind!r}; known are {get_args(InputKind)}")
        most = MOST_CHANNELS[self.kind]
        if not isinstance(self.channels, int) or not 1 <= self.channels <= most:
            raise ValueError(
                f"the input {self.name} ({self.kind}) has {self.channels!r} channels; it must be 1 to {most:,}"
            )
        _check_range(f"the input {self.name}'s value_range", self.value_range)


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """The facts about a generator that decide how it is fed. Neutral values are the defaults.

    Raises:
        ValueError: a value is out of its range.
    """

    task: str
    """What it is for, in a word, as `translate`; the job that asks refuses a generator of another task."""
    in_channels: int = 3
    """Channels of the image it takes: 1 (greyscale) or 3 (RGB); 2 and 4 are these with an alpha channel as the last."""
    out_channels: int = 3
    """Channels it gives: 1 to 4, likewise."""
    scale: int = 1
    """Output pixels per input pixel along each side."""
    size_multiple: int = 1
    """Input height and width must be multiples of this; others are reflect-padded and the result cropped."""
    min_size_px: int = 1
    """Smallest input side; smaller ones are padded likewise."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """The values that uint8 0 and 255 become on the way in, and that become 0 and 255 on the way out."""
    halo_px: int | None = None
    """How many input pixels around a pixel decide its output (the receptive field's radius). None: all of them
    (instance normalisation, a U-Net's bottleneck); such a generator can't be tiled exactly."""
    conditions: tuple[str, ...] = field(default=())
    """Names of further inputs (a class label, a code) that its recipe alone can give; none for plain image-to-image
    generators."""
    inputs: tuple[NetworkInput, ...] = field(default=())
    """All that it takes, in the order in which its network does; empty where that is one image. See `takes`."""
    looks: Looks | None = None
    """What it finds in images; None for a network that paints."""

    @property
    def takes(self) -> tuple[NetworkInput, ...]:
        """Every input. The first is what SOURCE of a bulk job gives."""
        return self.inputs or (self._plain,)

    @property
    def picture(self) -> int | None:
        """The place of the first image or label map among all inputs, whose size the others have; None without any."""
        return next((n for n, each in enumerate(self.takes) if each.has_pixels), None)

    @property
    def _plain(self) -> NetworkInput:
        return NetworkInput(name="image", kind="image", channels=self.in_channels, value_range=self.value_range)

    def __post_init__(self) -> None:
        _check_word("task", self.task)
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) not in (1, 2, 3, 4):
                raise ValueError(f"{name} is {getattr(self, name)}; images have 1 (grey) to 4 (RGB and alpha)")
        for name, most in (("scale", 64), ("size_multiple", 1 << 14), ("min_size_px", 1 << 14)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 1 to {most:,}")
        if self.halo_px is not None and not 0 <= self.halo_px <= 1 << 14:
            raise ValueError(f"halo_px is {self.halo_px}; it must be from 0 to {1 << 14:,}")
        _check_range("value_range", self.value_range)
        if self.inputs == (self._plain,):
            object.__setattr__(self, "inputs", ())  # one way to state one image, and so one digest
        if len({each.name for each in self.inputs}) < len(self.inputs):
            raise ValueError(f"two inputs have one name: {[each.name for each in self.inputs]}")
        for first in self.inputs[:1]:
            if first.kind == "image" and (first.channels, first.value_range) != (self.in_channels, self.value_range):
                raise ValueError(
                    f"the first input, {first.name}, has {first.channels} channels in {first.value_range}, and "
                    f"in_channels and value_range say {self.in_channels} in {self.value_range}"
                )


def _check_word(what: str, word: str) -> None:
    if not isinstance(word, str) or not WORD.fullmatch(word):
        raise ValueError(f"{what} is {word!r}; it must be a word of letters, digits, - and _")


def _check_range(what: str, value_range: tuple[float, float]) -> None:
    low, high = value_range
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{what} is {value_range}; its first value must be below its second")
