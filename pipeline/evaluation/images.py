"""Results beside their targets: PSNR, SSIM, LPIPS and the Frechet distance, and what such numbers are worth."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from recast.models.metrics.fid import Moments, frechet_distance
from recast.models.metrics.lpips import LPIPS
from recast.models.metrics.luma import y_channel
from recast.models.metrics.psnr import psnr_db
from recast.models.metrics.ssim import SIDE_PX, ssim
from recast.pipeline import storage
from recast.pipeline.images.bounds import OWN_MAX_BYTES, OWN_MAX_PIXELS
from recast.pipeline.images.decode import decode
from recast.pipeline.images.pictures import as_rgb8
from recast.pipeline.input_errors import InputError
from recast.pipeline.reasons import plural
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.endings import is_hidden, is_no_image, without_ending
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import Source, inventory
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.storage import StorageError

ENOUGH_IMAGES = 2_048
"""Below so many, covariances of 2,048 features have no full rank; papers take 10,000 and more."""
ADDED = re.compile(r"(?P<name>.+?)[ _-]?(?:x[2348]|[2348]x|(?:sr|out|rlt|result)(?:[ _-]?x[2348])?)", re.IGNORECASE)
"""What programs add to the names of their results: BasicSR's `_x4`, Real-ESRGAN's `_out`, ESRGAN's `_rlt`."""


class PairingError(ValueError):
    """It isn't clear which result belongs to which target; the message is for a person."""

    exit_status = 2


@dataclass
class Comparison:
    """What was measured so far."""

    luma: bool = False
    border_px: int = 0
    lpips: LPIPS | None = None
    compared: int = 0
    equal: int = 0
    other_sizes: int = 0
    passed_over: int = 0
    """Files that are no images by their names."""
    unreadable: list[str] = field(default_factory=list)
    """Images, each with its fault."""
    notes: Counter[str] = field(default_factory=Counter)
    sums: dict[str, list[float]] = field(default_factory=lambda: {"psnr_db": [], "ssim": [], "lpips": []})
    moments: tuple[Moments, Moments] | None = None
    """Numbers of results and of targets."""

    def add(self, result: Input, target: Input) -> None:
        """A pair."""
        image, wanted = self._pixels(result), self._pixels(target)
        if image is None or wanted is None:
            return
        if image.shape != wanted.shape:
            self.other_sizes += 1
            return
        self.compared += 1
        ours, theirs = (y_channel(pixels) if self.luma else pixels for pixels in (image, wanted))
        if min(image.shape[:2]) <= 2 * self.border_px:
            self.notes["smaller than the border, without PSNR and SSIM"] += 1
        else:
            decibels = psnr_db(ours, theirs, self.border_px)
            self.equal += math.isinf(decibels)
            self.sums["psnr_db"] += [decibels] if math.isfinite(decibels) else []
            self._compare_structure(ours, theirs)
        if self.lpips is not None:
            one, other = (_tensor(pixels) for pixels in (image, wanted))
            try:
                self.sums["lpips"].append(float(self.lpips(one, other)))
            except RuntimeError:
                self.notes["too small for the loss network, without LPIPS and Frechet distance"] += 1
            else:
                self._gather(0, one)
                self._gather(1, other)

    def add_unpaired(self, items: Iterable[Input], side: int) -> None:
        """The images of one of two sets, results (0) or targets (1)."""
        for item in items:
            pixels = self._pixels(item)
            if pixels is not None:
                try:
                    self._gather(side, _tensor(pixels))
                except RuntimeError:
                    self.notes["too small for the loss network, without Frechet distance"] += 1

    def _compare_structure(self, image: np.ndarray, target: np.ndarray) -> None:
        inside = (slice(self.border_px, n - self.border_px) for n in image.shape[:2])
        rows, columns = inside
        if min(image[rows, columns].shape[:2]) < SIDE_PX:
            self.notes[f"smaller than {SIDE_PX} px, without SSIM"] += 1
        else:
            self.sums["ssim"].append(ssim(image[rows, columns], target[rows, columns]))

    def _gather(self, side: int, images: torch.Tensor) -> None:
        assert self.lpips is not None
        features = self.lpips.features(images)
        self.moments = self.moments or (Moments(features.shape[1]), Moments(features.shape[1]))
        self.moments[side].add(features)

    def _pixels(self, item: Input) -> np.ndarray | None:
        """uint8 [H, W, 3]; None of what can't be read, which is remembered."""
        try:
            picture = decode(read(item, OWN_MAX_BYTES), OWN_MAX_PIXELS)
        except (InputError, StorageError, OSError) as fault:
            self.unreadable.append(f"{item.source}: {storage.sentence(fault) if isinstance(fault, OSError) else fault}")
            return None
        if picture.pixels.dtype == np.uint16:
            self.notes["with 16 bits a value, measured by the upper 8"] += 1
        if picture.alpha is not None:
            self.notes["with transparent parts, measured as if they were opaque"] += 1
        return as_rgb8(picture.pixels)

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        facts: dict[str, Any] = {"images": self.compared, "equal": self.equal, "of_another_size": self.other_sizes}
        facts |= {name: float(np.mean(values)) if values else None for name, values in self.sums.items()}
        counts = [of.count for of in self.moments] if self.moments else [0, 0]
        facts["frechet"] = frechet_distance(*self.moments) if self.moments and min(counts) > 1 else None
        channels = "Y of BT.601 (16 to 235)" if self.luma else "RGB, 8 bits"
        facts["protocol"] = f"{channels}, border of {self.border_px} px left out"
        facts |= {"unreadable": len(self.unreadable), "passed_over": self.passed_over}
        facts["notes"] = [f"{plural(count, 'image')} {note}" for note, count in sorted(self.notes.items())]
        if facts["frechet"] is not None and min(counts) < ENOUGH_IMAGES:
            facts["notes"].append(
                f"a Frechet distance of {min(counts):,} images says next to nothing by itself: below "
                f"{ENOUGH_IMAGES:,} it depends on their number more than on their quality"
            )
        facts["faults"] = self.unreadable
        return facts


def compare(
    results: str, targets: str, lpips: LPIPS | None = None, *, on_luma: bool = False, border_px: int = 0,
    unpaired: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Means over the images that both have, and how many those are; an image's ending doesn't matter.

    Args:
        on_luma: PSNR and SSIM of the luma alone, as papers on upscaling have them.
        border_px: what PSNR and SSIM leave out at each side.
        unpaired: the two sets have nothing to do with each other; there is their Frechet distance alone.

    Raises:
        PairingError: it isn't clear what belongs to what, or sets without pairs are to be compared without a network.
        StorageError: a place can't be read, or there is nothing to measure.
    """
    found = Comparison(luma=on_luma, border_px=border_px, lpips=lpips)
    ours, theirs = _images(results, found), _images(targets, found)
    pairs, missing, extra = _pairs(ours, theirs, found) if not unpaired else ([], 0, 0)
    if pairs:
        for result, target in pairs:
            found.add(result, target)
        counts = {"without_result": missing, "without_target": extra}
    elif lpips is None:
        raise PairingError(
            f"{results} and {targets} have no image of one name in common; with --loss-network there is the Frechet "
            "distance of sets that don't belong together"
        )
    else:
        found.add_unpaired(ours, 0)
        found.add_unpaired(theirs, 1)
        counts = {"results": len(ours), "targets": len(theirs)}
        found.notes["in sets taken as unpaired, of which there is the Frechet distance alone"] = len(ours) + len(theirs)
    if not found.compared and not found.moments:
        why = f"; {found.unreadable[0]}" if found.unreadable else ""
        sizes = f", and {plural(found.other_sizes, 'pair')} of different sizes" if found.other_sizes else ""
        raise StorageError(f"{results} and {targets} have no image of one name and size that can be read{sizes}{why}")
    facts = found.facts()
    return {**dict(list(facts.items())[:3]), **counts, **dict(list(facts.items())[3:])}


def _images(url: str, found: Comparison) -> list[Input]:
    """What may be images by their names; the others are counted."""
    kept, over = [], PassedOver()
    for item in inventory(Source(urls=(url,)), over):
        if is_hidden(item.key) or is_no_image(item.key):
            over.add("no image")
        else:
            kept.append(item)
    found.passed_over += over.counts.total()
    if not kept:
        raise StorageError(f"there are no images at {url}")
    return kept


def _pairs(ours: list[Input], theirs: list[Input], found: Comparison) -> tuple[list[tuple[Input, Input]], int, int]:
    """Results with their targets; how many targets have no result, and how many results no target."""
    results, targets = _by_name(ours), _by_name(theirs)
    for name in sorted(results.keys() - targets.keys()):
        match = ADDED.fullmatch(name)
        if match and match["name"] in targets and match["name"] not in results:
            results[match["name"]] = results.pop(name)
            found.notes["paired without what was added to their names"] += 1
    pairs: list[tuple[Input, Input]] = []
    for name in sorted(results.keys() & targets.keys()):
        if len(results[name]) == len(targets[name]) == 1:
            pairs.append((results[name][0], targets[name][0]))
        else:
            pairs += _by_whole_name(results[name], targets[name])
    return pairs, len(theirs) - len(pairs), len(ours) - len(pairs)


def _by_name(items: Iterable[Input]) -> dict[str, list[Input]]:
    """By the path without the ending of an image, or several of them: `a.jpg.png` is what became of `a.jpg`."""
    named: dict[str, list[Input]] = {}
    for item in items:
        name, before = item.key, ""
        while name != before:
            name, before = without_ending(name), name
        named.setdefault(name, []).append(item)
    return named


def _by_whole_name(results: list[Input], targets: list[Input]) -> list[tuple[Input, Input]]:
    """Those that differ from others in nothing but their ending, by that; raises PairingError for what is left."""
    pairs = []
    for target in targets:
        fits = [item for item in results if item.key == target.key]
        fits = fits or [item for item in results if without_ending(item.key) == target.key]
        if len(fits) != 1:
            several = ", ".join(item.key for item in (*results, *targets))
            raise PairingError(f"it isn't clear which result belongs to {target.key}: {several} have one name")
        pairs.append((fits[0], target))
    return pairs


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]
