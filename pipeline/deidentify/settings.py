"""What a de-identification is asked for: what to look for, how to replace it, and what not to publish."""

import hashlib
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from recast.pipeline.regions.registry import NONE, PROVIDERS
from recast.pipeline.regions.views import SMALLEST_FACE_PX

Method = Literal["solid", "pixelate", "blur"]
Shape = Literal["auto", "ellipse", "box"]
Without = Literal["publish", "hold", "sample"]
Names = Literal["plain", "hmac"]
DETECTORS = (*PROVIDERS, NONE)
"""Detectors by name; anything else is the place of a detector's bundle."""
LOOKS = 2
"""Which rules say what detectors are shown and what is done with their finds; grows where the same settings would
replace or hold other things than before."""
MOST_STRENGTH = 4.0


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """How regions are replaced.

    Raises:
        ValueError: a value is out of its range.
    """

    method: Method = "solid"
    shape: Shape = "auto"
    """An ellipse that fills the box, or the box itself; auto: an ellipse for what a detector found, the box for what a
    user's table names."""
    margin: float = 0.3
    """How much wider and higher than the region, of its own width and height (deface: 0.3)."""
    strength: float = 1.0
    """Of pixelate and blur. At 1 a face is left with 4 blocks along its longer side, or blurred by a Gaussian whose
    standard deviation is a quarter of that side; at 2 with half as many, and twice as wide."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 4:
            raise ValueError(f"margin is {self.margin}; it must be in [0, 4]")
        if not 1 <= self.strength <= MOST_STRENGTH:
            raise ValueError(f"strength is {self.strength}; it must be in [1, {MOST_STRENGTH}]: less can be undone")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is replaced, and what is not published.

    Raises:
        ValueError: a value is out of its range.
    """

    threshold: float = 0.2
    """Regions that score as much or more are replaced (deface: 0.2)."""
    doubt: float = 0.15
    """A picture with a region that scores between this and the threshold is held."""
    most_regions: int = 200
    """A picture with more is held: something is wrong with it, or with the detector."""
    without: Without = "publish"
    """What becomes of a picture in which nothing is found: it is published, held, or published but for a sample."""
    sample_share: float = 0.02
    """Of the pictures in which nothing is found, those held for review under `sample`; each picture's key decides."""

    def __post_init__(self) -> None:
        if not 0 < self.doubt <= self.threshold <= 1:
            raise ValueError(
                f"doubt {self.doubt} and threshold {self.threshold} must be in (0, 1], doubt not the larger"
            )
        if self.most_regions < 1 or not 0 <= self.sample_share <= 1:
            raise ValueError("most_regions must be at least 1, and sample_share in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Deidentification:
    """The settings that decide what is replaced, how, and what is held.

    Raises:
        ValueError: they leave nothing to look for.
    """

    detectors: tuple[str, ...] = ("centerface",)
    """Their finds are joined: names in DETECTORS (`none` where a user's boxes are all there is), or URLs of bundles."""
    scales: tuple[float, ...] = ()
    """Sizes at which detectors look at an image, relative to its own; empty: those that its size asks for."""
    smallest_face: float = SMALLEST_FACE_PX
    """Height in pixels of the smallest face that is to be found, where no scales are given."""
    mirrored: bool = False
    """Whether centerface looks at each image's mirror image, too."""
    boxes: str = ""
    """URL of a table of regions by image key."""
    model: str = ""
    """URL of the bundle that paints new faces; empty: faces are replaced classically, like everything else."""
    consistent_by: str = "image"
    """Which faces the model gives one identity: those of an `image` each its own, those of a `folder` by their order,
    or those of a track, named by what a regular expression finds in the key."""
    seal: bool = False
    """Whether originals of what is replaced are kept, encrypted."""
    names: Names = "plain"
    """Of images in the output: as they are, or a keyed hash of them."""
    replacement: Replacement = field(default_factory=Replacement)
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        if not self.looks and not self.boxes:
            raise ValueError("with --detector none there must be --boxes, or nothing would be looked at")
        try:
            re.compile(self.consistent_by)
        except re.error as fault:
            raise ValueError(
                f"consistent_by is {self.consistent_by!r}: not image, not folder, and no regular expression ({fault})"
            ) from fault
        if not all(0.01 <= scale <= 4 for scale in self.scales):
            raise ValueError(f"scales are {self.scales}; each must be in [0.01, 4]")
        if not 6 <= self.smallest_face <= 1000:
            raise ValueError(f"smallest_face is {self.smallest_face} px; it must be from 6 to 1,000")

    @property
    def looks(self) -> bool:
        """Whether any detector looks at the images, besides a user's table."""
        return bool(set(self.detectors) - {"none"})

    @property
    def needs_passcode(self) -> bool:
        return bool(self.seal or self.model or self.names == "hmac")

    def bundles(self) -> tuple[str, ...]:
        """The URLs of all bundles that are needed."""
        named = [name for name in self.detectors if name not in DETECTORS]
        return (*named, self.model) if self.model else tuple(named)

    def deciding(self) -> dict[str, Any]:
        """As settings of the job: flat, in JSON's types, without places."""
        facts = {k: v for k, v in asdict(self).items() if k not in ("boxes", "model", "replacement", "policy")}
        for name, neutral in (("consistent_by", "image"), ("names", "plain")):
            if facts[name] == neutral:  # absent from the digests of outputs older than the setting
                del facts[name]
        if self.names == "hmac" and self.consistent_by not in ("image", "folder"):
            facts["consistent_by"] = _unreadable(self.consistent_by)
        facts["looks"] = LOOKS
        facts["scales"] = list(self.scales) or "by size"
        facts["detectors"] = [name if name in DETECTORS else "bundle" for name in self.detectors]
        return {**facts, **asdict(self.replacement), **asdict(self.policy)}


def _unreadable(pattern: str) -> str:
    """What stands for a pattern over hidden names: the same for the same one, and dear to guess."""
    return "scrypt:" + hashlib.scrypt(pattern.encode(), salt=b"recast consistent_by", n=2**14, r=8, p=1, dklen=16).hex()
