"""Pictures in, pictures without their regions out, or a reason to hold them back: the generator of `recast deidentify`.

It fails closed. What can't be looked at, what a detector is not sure about, and what is still found afterwards is held,
not published.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from recast.pipeline.deidentify.detection.brought import Brought
from recast.pipeline.deidentify.detection.detectors import Detector
from recast.pipeline.deidentify.regions import Region, union
from recast.pipeline.deidentify.replacement.classical import replaced
from recast.pipeline.deidentify.replacement.painter import FacePainter, ordered
from recast.pipeline.deidentify.settings import MOST_STRENGTH, Policy, Replacement
from recast.pipeline.images.faults import Fault, Held
from recast.pipeline.images.inputs import Input
from recast.pipeline.images.pictures import Picture, as_rgb8

FACE = "face"
"""The kind of regions that a painter gives new faces."""


@dataclass
class _Draft:
    """A picture that is being made ready: what was replaced in it, by what, and which of its pixels changed."""

    picture: Picture
    item: Input
    pixels: np.ndarray
    done: list[tuple[Region, str]] = field(default_factory=list)
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    painted: list[Region] = field(default_factory=list)
    """Faces that have new ones, which a detector may well find."""


@dataclass(kw_only=True)
class Anonymizer:
    """Detect, replace, detect again."""

    detectors: Sequence[Detector]
    brought: Brought | None = None
    replacement: Replacement = field(default_factory=Replacement)
    policy: Policy = field(default_factory=Policy)
    painter: FacePainter | None = None
    """Gives faces new ones; None: they are replaced like everything else."""
    keep_originals: bool = False
    """Whether results bring the pixels that were replaced with them, to be sealed."""

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Picture | Fault]:
        """Pictures of one shape -> each without its regions, or `Held`."""
        found = self._found([picture.pixels for picture in pictures])
        results: list[Picture | Fault | None] = []
        drafts: dict[int, tuple[_Draft, list[Region]]] = {}
        for n, (picture, item, regions) in enumerate(zip(pictures, items, found, strict=True)):
            decided = self._decided(picture, item.alias or item.key, regions)
            results.append(None if isinstance(decided, list) else decided)
            if isinstance(decided, list):
                drafts[n] = _Draft(picture, item, picture.pixels), decided
        self._replace(list(drafts.values()))
        left = self._left([draft for draft, _ in drafts.values()])
        for (n, (draft, _)), still in zip(drafts.items(), left, strict=True):
            results[n] = self._finished(draft, still)
        return [result for result in results if result is not None]

    def _found(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """By all detectors together, those that are at least doubtful."""
        seen = [as_rgb8(image) for image in images]
        found: list[list[Region]] = [[] for _ in images]
        for detector in self.detectors if images else ():
            for regions, more in zip(found, detector(seen), strict=True):
                regions += [region for region in more if region.score >= self.policy.doubt]
        return [union([regions]) for regions in found]

    def _decided(self, picture: Picture, key: str, found: Sequence[Region]) -> list[Region] | Picture | Fault:
        """What is to be replaced in a picture; or the picture as it is; or why it is held."""
        brought = self.brought.of(key) if self.brought else []
        if outside := [r for r in brought if not _inside(r, picture)]:
            box = ", ".join(f"{side:g}" for side in outside[0].box)
            return Held("box-outside", f"the box {box} lies outside of {picture.width} x {picture.height} px")
        sure, doubtful = self._sorted(found)
        regions = union([brought, sure])
        if doubtful and not _covered(doubtful, regions):
            worst = max(doubtful, key=lambda r: r.score)
            return Held(
                "doubtful",
                f"{worst.detector} gives a {worst.kind} {worst.score:.2f}, between {self.policy.doubt} and "
                f"{self.policy.threshold}",
            )
        if len(regions) > self.policy.most_regions:
            return Held("too-many", f"{len(regions):,} regions, more than {self.policy.most_regions:,}")
        return regions or self._without(picture, key)

    def _replace(self, drafts: Sequence[tuple[_Draft, list[Region]]]) -> None:
        """Faces by the painter, of all pictures together; everything else by the classical replacement."""
        plain = [(draft, [r for r in regions if not (self.painter and r.kind == FACE)]) for draft, regions in drafts]
        for draft, regions in plain:
            self._replace_in(draft, regions, self.replacement)
        if self.painter is None:
            return
        for draft, regions in drafts:
            draft.painted = ordered([region for region in regions if region.kind == FACE])
        made = self.painter(
            [draft.pixels for draft, _ in drafts],
            [draft.painted for draft, _ in drafts],
            [draft.item for draft, _ in drafts],
        )
        for (draft, _), (pixels, boxes) in zip(drafts, made, strict=True):
            draft.pixels = pixels
            draft.boxes += boxes
            draft.done = [(face, self.painter.action) for face in draft.painted] + draft.done

    def _replace_in(self, draft: _Draft, regions: Sequence[Region], how: Replacement) -> None:
        draft.pixels, boxes = replaced(draft.pixels, regions, how)
        draft.boxes += boxes
        draft.done += [(region, how.method) for region in regions]

    def _left(self, drafts: Sequence[_Draft]) -> list[list[Region]]:
        """What detectors still find in each where no new face was put."""
        found = self._found([draft.pixels for draft in drafts])
        return [
            [region for region in regions if not _covered([region], draft.painted)]
            for draft, regions in zip(drafts, found, strict=True)
        ]

    def _finished(self, draft: _Draft, left: list[Region]) -> Picture | Fault:
        """The picture, once nothing is found in it that should not be."""
        for stronger in self._stronger():
            if not left:
                break
            self._replace_in(draft, left, stronger)
            (left,) = self._left([draft])
        if left:
            return Held("still-found", "a detector still finds something in what was to be published")
        original = draft.picture.pixels
        return dataclasses.replace(
            draft.picture,
            pixels=draft.pixels,
            regions=tuple(
                {"kind": r.kind, "box": list(r.box), "score": r.score, "action": how} for r, how in draft.done
            ),
            originals=tuple((box, original[box[1] : box[3], box[0] : box[2]].copy()) for box in draft.boxes)
            if self.keep_originals
            else (),
        )

    def _stronger(self) -> Iterator[Replacement]:
        """What is tried, one after the other, where something is still found."""
        strength = min(MOST_STRENGTH, 2 * self.replacement.strength)
        yield dataclasses.replace(self.replacement, strength=strength, shape="box")
        yield Replacement(method="solid", shape="box", margin=self.replacement.margin)

    def _sorted(self, found: Sequence[Region]) -> tuple[list[Region], list[Region]]:
        sure = [region for region in found if region.score >= self.policy.threshold]
        return sure, [region for region in found if region.score < self.policy.threshold]

    def _without(self, picture: Picture, key: str) -> Picture | Fault:
        if self.policy.without == "hold":
            return Held("nothing-found", "no detector finds anything in it, and the policy is to hold such images")
        if self.policy.without == "sample" and _share(key) < self.policy.sample_share:
            return Held("review", "nothing is found in it; it is of the sample that a person should look at")
        return picture


def _inside(region: Region, picture: Picture) -> bool:
    """Whether some of it is in the picture; a box that isn't was meant for other pixels."""
    left, top, right, bottom = region.box
    return left < picture.width and top < picture.height and right > 0 and bottom > 0


def _covered(doubtful: Sequence[Region], regions: Sequence[Region]) -> bool:
    """Whether every doubtful region lies with most of itself in one that is replaced anyway."""
    return all(any(_share_inside(small, large) > 0.8 for large in regions) for small in doubtful)


def _share_inside(small: Region, large: Region) -> float:
    across = min(small.box[2], large.box[2]) - max(small.box[0], large.box[0])
    down = min(small.box[3], large.box[3]) - max(small.box[1], large.box[1])
    return max(0.0, across) * max(0.0, down) / max(small.width * small.height, 1e-9)


def _share(key: str) -> float:
    """A number in [0, 1) that the key decides."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
