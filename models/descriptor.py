"""What a generator takes and gives, stated once so that nothing downstream has to guess."""

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
    """Channels it takes: 1 (greyscale) or 3 (RGB)."""
    out_channels: int = 3
    """Channels it gives: 1 or 3."""
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
            if getattr(self, name) not in (1, 3):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or 3")
        for name in ("scale", "size_multiple", "min_size_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        low, high = self.value_range
        if not low < high:
            raise ValueError(f"value_range is {self.value_range}; its first value must be below its second")
