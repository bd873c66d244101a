"""What a network looks for in images, and how an image is given to it: stated in the bundle of a network that looks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Fit = Literal["keep", "stretch"]
"""`keep`: the aspect is kept; `stretch`: the image becomes a square."""
ChannelOrder = Literal["rgb", "bgr"]
MOST_CATEGORIES, MOST_POINTS, LONGEST_NAME = 4096, 1024, 64
LARGEST_ID = (1 << 31) - 1
"""The index keeps categories as int32."""


@dataclass(frozen=True, kw_only=True)
class Category:
    """One kind of thing that a network knows.

    Raises:
        ValueError: a value is out of its range.
    """

    id: int
    """Its number in the annotations that the network was trained on, from 1; they may have gaps, as COCO's do."""
    name: str

    def __post_init__(self) -> None:
        _check_number("a category's id", self.id, 1, LARGEST_ID)
        _check_name("a category's name", self.name)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The facts about a network that finds things in images.

    Raises:
        ValueError: a value is out of its range.
    """

    categories: tuple[Category, ...]
    """What it finds, in the order of the network's own numbers."""
    points: tuple[str, ...] = ()
    """Names of the keypoints that it gives for each thing, in order; none where it gives none."""
    limbs: tuple[tuple[int, int], ...] = ()
    """Pairs of keypoints, by their places in `points`, that a drawing joins."""
    size_px: int
    """The longer side of what it is given, in pixels; the most where `short_px` decides."""
    short_px: int | None = None
    """The shorter side of what it is given, as long as the longer one is no more than `size_px`; None: the longer side
    decides."""
    fit: Fit = "keep"
    channel_order: ChannelOrder = "rgb"
    score_floor: float = 0.05
    """Findings of lower scores are not reported."""

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError("a network that looks must state its categories")
        for what, some, most in (
            ("categories", self.categories, MOST_CATEGORIES),
            ("points", self.points, MOST_POINTS),
            ("limbs", self.limbs, MOST_POINTS),
        ):
            if len(some) > most:
                raise ValueError(f"it states {len(some):,} {what}; there may be {most:,}")
        for what in ("id", "name"):
            values = [getattr(each, what) for each in self.categories]
            if len(set(values)) < len(values):
                raise ValueError(f"two categories have one {what}")
        for name in self.points:
            _check_name("a point's name", name)
        for limb in self.limbs:
            for end in limb if len(limb) == 2 else (None,):
                _check_number("an end of a limb", end, 0, len(self.points) - 1)
        _check_number("size_px", self.size_px, 1, 1 << 14)
        if self.short_px is not None:
            _check_number("short_px", self.short_px, 1, self.size_px)
        for name, value, known in (
            ("fit", self.fit, get_args(Fit)),
            ("channel_order", self.channel_order, get_args(ChannelOrder)),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
        if not isinstance(self.score_floor, (int, float)) or not 0 <= self.score_floor < 1:
            raise ValueError(f"score_floor is {self.score_floor!r}; it must be in [0, 1)")

    def given_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels at which the network is given an image of that size, before any padding."""
        if self.fit == "stretch":
            return self.size_px, self.size_px
        scale = self.size_px / max(height, width)
        if self.short_px is not None:
            scale = min(scale, self.short_px / min(height, width))
        return max(1, math.floor(height * scale + 0.5)), max(1, math.floor(width * scale + 0.5))


def read_looks(said: Mapping[str, Any] | None) -> Looks | None:
    """The looks that a bundle.json states, if any. Raises ValueError, TypeError and KeyError as data is odd."""
    if said is None:
        return None
    categories = tuple(Category(**each) for each in said["categories"])
    limbs = tuple(tuple(each) for each in said.get("limbs", ()))
    return Looks(**{**said, "categories": categories, "points": tuple(said.get("points", ())), "limbs": limbs})


def _check_number(what: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{what} is {value!r}; it must be a whole number from {least} to {most:,}")


def _check_name(what: str, name: Any) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"{what} is {name!r}; it must be of 1 to {LONGEST_NAME} printable characters")
