"""Pictures in, pictures without their regions out, or a reason to hold them back: the operator of `recast deidentify`.

It fails closed. What can't be looked at, what a detector is not sure about, and what is still found afterwards is held,
not published.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from recast.pipeline.bulk.operation import Operator, Result, SidecarRow
from recast.pipeline.deidentify.replacement.classical import covered_share, grown, replaced
from recast.pipeline.deidentify.replacement.painter import FacePainter, ordered
from recast.pipeline.deidentify.sealing import sealed_rows
from recast.pipeline.deidentify.secrets.seal import Secret
from recast.pipeline.deidentify.settings import MOST_STRENGTH, Policy, Replacement
from recast.pipeline.images.pictures import Picture, laid_on, looks, with_alpha
from recast.pipeline.input_errors import HeldError, InputError
from recast.pipeline.output.rows import Row
from recast.pipeline.regions.detectors import Detector, NotFiniteError, numbered
from recast.pipeline.regions.region import FACE, Region, union
from recast.pipeline.regions.tables import RegionTable
from recast.pipeline.sources.inputs import Input

MOSTLY, BESIDE = 0.8, 0.3
"""The share of a doubtful detection that is replaced anyway: from the one on it is no reason to hold an image; from the
other on it is the same head, seen at another size, and replaced as well."""
BLACK = 0.5
"""What is found a second time, and has so much black in it, is found for its outline."""


@dataclass
class _Draft:
    """A picture that is being made ready: what was replaced in it, by what, and which of its pixels changed."""

    picture: Picture
    item: Input
    pixels: np.ndarray
    alpha: np.ndarray | None
    done: list[tuple[Region, Replacement | str]] = field(default_factory=list)
    """Regions, and how each was replaced: classically, or by what a painter calls it."""
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    painted: list[Region] = field(default_factory=list)
    """Faces that have new ones, which a detector may well find."""

    def black(self) -> Iterator[tuple[Region, Replacement]]:
        """Regions of which nothing is left, and how far around them that goes."""
        return ((region, how) for region, how in self.done if isinstance(how, Replacement) and how.method == "solid")


@dataclass(kw_only=True)
class Anonymizer(Operator):
    """Detect, replace, detect again."""

    detectors: Sequence[Detector]
    table: RegionTable | None = None
    replacement: Replacement = field(default_factory=Replacement)
    policy: Policy = field(default_factory=Policy)
    painter: FacePainter | None = None
    """Gives faces new ones; None: they are replaced like everything else."""
    seal_key: Secret | None = None
    """What names that keys hide, and with `keep_originals` what was replaced, are sealed with; None: nothing is."""
    keep_originals: bool = False
    """Whether results bring the pixels that were replaced with them, to be sealed."""

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        """Pictures of one shape -> each without its regions, or `HeldError`."""
        try:
            return self._anonymized(pictures, items)
        except NotFiniteError as fault:
            if len(pictures) > 1:  # one picture's numbers spoil no other's
                return [self([picture], [item])[0] for picture, item in zip(pictures, items, strict=True)]
            return [HeldError("not-finite", f"{fault}: nobody knows what is there")]

    def _anonymized(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        found = self._found([looks(picture.pixels, picture.alpha) for picture in pictures])
        results: list[Result | InputError | None] = []
        drafts: dict[int, tuple[_Draft, list[Region]]] = {}
        for n, (picture, item, regions) in enumerate(zip(pictures, items, found, strict=True)):
            decided = self._decided(picture, item.alias or item.key, regions)
            results.append(None if isinstance(decided, list) else decided)
            if isinstance(decided, list):
                drafts[n] = _Draft(picture, item, picture.pixels, picture.alpha), decided
        self._replace(list(drafts.values()))
        left = self._left([draft for draft, _ in drafts.values()])
        for (n, (draft, _)), still in zip(drafts.items(), left, strict=True):
            results[n] = self._finished(draft, still)
        return [result for result in results if result is not None]

    def _found(self, images: Sequence[Sequence[np.ndarray]]) -> list[list[Region]]:
        """By all detectors together in all that a person may see in each image, those that are at least doubtful.

        Raises:
            NotFiniteError: a detector gave values that can't be used.
        """
        found: list[list[Region]] = [[] for _ in images]
        for turn in range(max(map(len, images), default=0)):
            numbers = [n for n, seen in enumerate(images) if turn < len(seen)]
            for detector in self.detectors:
                for n, more in zip(numbers, detector([images[n][turn] for n in numbers]), strict=True):
                    regions = [numbered(region, *images[n][turn].shape[:2]) for region in more]
                    found[n] += [region for region in regions if region.score >= self.policy.doubt]
        return [union([regions]) for regions in found]

    def _decided(self, picture: Picture, key: str, found: Sequence[Region]) -> list[Region] | Result | InputError:
        """What is to be replaced in a picture; or the picture as it is; or why it is held."""
        if not self.detectors and not (self.table is not None and key in self.table):
            return HeldError("no-entry", "no detector looks at it, and no table of boxes has an entry for it")
        try:
            table = self.table.fitted(key, picture.height, picture.width) if self.table is not None else []
        except HeldError as unfit:
            return unfit
        shape = picture.pixels.shape
        accepted, doubtful = self._sorted(found)
        regions = self._distinct(union([table, accepted]), shape)
        shares = [(region, self._covered(region, regions, shape)) for region in doubtful]
        doubtful = [region for region, share in shares if share < MOSTLY]
        beside = [region for region, share in shares if BESIDE <= share < MOSTLY]
        if alone := [region for region in doubtful if region not in beside]:
            worst = max(alone, key=lambda r: r.score)
            return HeldError(
                "doubtful",
                f"{worst.detector} gives a {worst.kind} {worst.score:.2f}, between {self.policy.doubt} and "
                f"{self.policy.threshold}",
            )
        regions += beside
        if len(regions) > self.policy.most_regions:
            return HeldError("too-many", f"{len(regions):,} regions, more than {self.policy.most_regions:,}")
        return regions or self._without(picture, key)

    def _distinct(self, regions: Sequence[Region], shape: tuple[int, ...]) -> list[Region]:
        """Regions without those that lie wholly in what is replaced for a larger one of their kind."""
        kept: list[Region] = []
        for region in sorted(regions, key=lambda r: -r.width * r.height):
            same = [other for other in kept if other.kind == region.kind]
            if not any(covered_share(region, [(other, self.replacement)], shape) == 1 for other in same):
                kept.append(region)
        return sorted(kept, key=lambda r: (-r.score, r.box))

    def _covered(self, region: Region, by: Sequence[Region], shape: tuple[int, ...]) -> float:
        """How much of a region is replaced for others anyway."""
        return covered_share(region, ((other, self.replacement) for other in by), shape)

    def _replace(self, drafts: Sequence[tuple[_Draft, list[Region]]]) -> None:
        """Faces by the painter, of all pictures together; everything else by the classical replacement."""
        for draft, regions in drafts:
            self._make_opaque(draft, regions, self.replacement)
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

    def _make_opaque(self, draft: _Draft, regions: Sequence[Region], how: Replacement) -> None:
        """Lay what is to be replaced on white: what an alpha channel shows or hides there must go, too."""
        if draft.alpha is None:
            return
        draft.pixels, draft.alpha = draft.pixels.copy(), draft.alpha.copy()
        for left, top, right, bottom in (grown(region, how.margin, draft.alpha.shape) for region in regions):
            place = slice(top, bottom), slice(left, right)
            draft.pixels[place] = laid_on(1, draft.pixels[place], draft.alpha[place])
            draft.alpha[place] = np.iinfo(draft.alpha.dtype).max
            draft.boxes.append((left, top, right, bottom))

    def _replace_in(self, draft: _Draft, regions: Sequence[Region], how: Replacement) -> None:
        draft.pixels, boxes = replaced(draft.pixels, regions, how)
        draft.boxes += boxes
        draft.done += [(region, how) for region in regions]

    def _left(self, drafts: Sequence[_Draft]) -> list[list[Region]]:
        """What detectors still find in each where neither a new face was put, nor most of it is black: a black oval on
        shoulders looks like a head."""
        found = self._found([looks(draft.pixels, draft.alpha) for draft in drafts])
        return [
            [
                region
                for region in regions
                if covered_share(region, self._repainted(draft), draft.pixels.shape) < MOSTLY
                and covered_share(region, draft.black(), draft.pixels.shape) < BLACK
            ]
            for draft, regions in zip(drafts, found, strict=True)
        ]

    def _repainted(self, draft: _Draft) -> Iterator[tuple[Region, Replacement]]:
        """Faces that have new ones, and how far these go: a painter fills an ellipse, and a face's mask with it."""
        ellipse = dataclasses.replace(self.replacement, shape="ellipse")
        return ((face, self.replacement if face.mask is None else ellipse) for face in draft.painted)

    def _finished(self, draft: _Draft, left: list[Region]) -> Result | InputError:
        """The result, once nothing is found in it that should not be."""
        for stronger in self._stronger():
            if not left:
                break
            self._make_opaque(draft, left, stronger)
            self._replace_in(draft, left, stronger)
            (left,) = self._left([draft])
        if left:
            return HeldError("still-found", "a detector still finds something in what was to be published")
        original = with_alpha(draft.picture.pixels, draft.picture.alpha)
        return Result(
            picture=dataclasses.replace(draft.picture, pixels=draft.pixels, alpha=draft.alpha),
            regions=tuple(region.row(how if isinstance(how, str) else how.method) for region, how in draft.done),
            originals=tuple(
                (box, original[box[1] : box[3], box[0] : box[2]].copy()) for box in dict.fromkeys(draft.boxes)
            )
            if self.keep_originals
            else (),
        )

    def _stronger(self) -> Iterator[Replacement]:
        """What is tried, one after the other, where something is still found."""
        strength = min(MOST_STRENGTH, 2 * self.replacement.strength)
        yield dataclasses.replace(self.replacement, strength=strength, shape="box")
        yield Replacement(method="solid", shape="box", margin=self.replacement.margin)

    def _sorted(self, found: Sequence[Region]) -> tuple[list[Region], list[Region]]:
        """Those that are replaced, and those that are in doubt."""
        accepted = [region for region in found if region.score >= self.policy.threshold]
        return accepted, [region for region in found if region.score < self.policy.threshold]

    def _without(self, picture: Picture, key: str) -> Result | InputError:
        if self.policy.without == "hold":
            return HeldError("nothing-found", "no detector finds anything in it, and the policy is to hold such images")
        if self.policy.without == "sample" and _share(key) < self.policy.sample_share:
            return HeldError("review", "nothing is found in it; it is of the sample that a person should look at")
        return Result(picture=picture, regions=())

    def sidecars(self, row: Row, item: Input, result: Result | None) -> Iterable[SidecarRow]:
        return sealed_rows(self.seal_key, row, item, result) if self.seal_key else ()


def _share(key: str) -> float:
    """A number in [0, 1) that the key decides."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
