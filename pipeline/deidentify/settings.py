"""What a de-identification is asked for: what to look for, how to replace it, and what not to publish."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Method = Literal["solid", "pixelate", "blur"]
Shape = Literal["ellipse", "box"]
Without = Literal["publish", "hold", "sample"]
DetectorName = Literal["centerface", "cascades", "none"]


MOST_STRENGTH = 4.0


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """How regions are replaced.

    Raises:
        ValueError: a value is out of its range.
    """

    method: Method = "solid"
    shape: Shape = "ellipse"
    """An ellipse that fills the box, or the box itself."""
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
    """Regions that score as much or more are replaced (deface: 0.2)…"""
    doubt: float = 0.15
    """…and a picture with one between this and the threshold is held."""
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

    detectors: tuple[DetectorName, ...] = ("centerface",)
    """Their finds are joined; `none` where a user's boxes are all there is to replace."""
    scales: tuple[float, ...] = (1.0,)
    """Of the image, at which centerface looks."""
    mirrored: bool = False
    """Whether centerface looks at each image's mirror image, too."""
    boxes: str = ""
    """URL of a table of regions by image key."""
    replacement: Replacement = field(default_factory=Replacement)
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        if set(self.detectors) == {"none"} and not self.boxes:
            raise ValueError("with --detector none there must be --boxes, or nothing would be replaced")
        if not self.scales or not all(0.1 <= scale <= 4 for scale in self.scales):
            raise ValueError(f"scales are {self.scales}; each must be in [0.1, 4]")

    def deciding(self) -> dict[str, Any]:
        """As settings of the job: flat, in JSON's types, without places."""
        facts = {k: v for k, v in asdict(self).items() if k not in ("boxes", "replacement", "policy")}
        return {**facts, **asdict(self.replacement), **asdict(self.policy)}
