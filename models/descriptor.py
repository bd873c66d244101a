"""What a generator takes and gives, stated once so that nothing downstream has to guess."""

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """The facts about a generator that decide how it is fed. Neutral values are the defaults.

    Raises:
        ValueError: a value is out of its range.
    """

    task: Literal["translate", "upscale", "deidentify", "generate", "classify", "detect", "recognise"]
    """What it is for; the bulk jobs refuse a generator of another task."""
    in_channels: int = 3
    """Channels it takes: 1 (greyscale) or 3 (RGB); 2 and 4 are these with an alpha channel as the last."""
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
    """Names of further inputs (a class label, a code); none for plain image-to-image generators."""

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) not in (1, 2, 3, 4):
                raise ValueError(f"{name} is {getattr(self, name)}; images have 1 (grey) to 4 (RGB and alpha)")
        for name, most in (("scale", 64), ("size_multiple", 1 << 14), ("min_size_px", 1 << 14)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 1 to {most:,}")
        if self.halo_px is not None and not 0 <= self.halo_px <= 1 << 14:
            raise ValueError(f"halo_px is {self.halo_px}; it must be from 0 to {1 << 14:,}")
        low, high = self.value_range
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"value_range is {self.value_range}; its first value must be below its second")
