"""Examples that are never trained on, and how well the network does on them at each checkpoint."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recast.models.digests import short_digest
from recast.models.metrics.kid import kernel_distance
from recast.models.metrics.lpips import LPIPS
from recast.models.metrics.psnr import psnr_db
from recast.models.metrics.ssim import SIDE_PX, ssim
from recast.models.recipes.recipe import Recipe
from recast.pipeline.reasons import plural
from recast.pipeline.training.examples import ExampleCache, fixed_samples
from recast.pipeline.training.layouts import Example
from recast.pipeline.training.settings import TrainingError

MOST_EXAMPLES = 256
"""Examples that are measured; more would take longer than they tell more."""
Shown = tuple[np.ndarray, np.ndarray]
"""uint8 [N, H, W, C]: what a network made, and what that should be, or be like."""
LARGEST_PSNR_DB = 100.0
"""What equal images count as, whose PSNR is infinite."""
PSNR, SSIM, LPIPS_NAME, KID = (f"validation {name}" for name in ("PSNR", "SSIM", "LPIPS", "KID"))


def split(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Examples to train on, and those that are held out: about so large a share, by a hash of their keys. So it is the
    same for any number of workers and after a restart, and what joins the data moves nothing.

    Raises:
        TrainingError: nothing would be left on one of the sides.
    """
    held = [_place(example.key) < share for example in examples]
    kept = [example for example, out in zip(examples, held, strict=True) if not out]
    if not kept or len(kept) == len(examples):
        raise TrainingError(
            f"--validate {share:g} of {plural(len(examples), 'example')} holds out {'all' if not kept else 'none'}; "
            "give another share, or a folder"
        )
    return kept, [example for example, out in zip(examples, held, strict=True) if out]


def _place(key: str) -> float:
    """A number in [0, 1) that a key always has."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()) / 2**64


def apart(examples: Sequence[Example], held: Sequence[Example]) -> list[Example]:
    """The examples without those that have an image of a held-out one: a folder may lie in the other.

    Raises:
        TrainingError: nothing is left to train on.
    """
    known = {item.source for example in held for item in example.inputs}
    kept = [example for example in examples if known.isdisjoint(item.source for item in example.inputs)]
    if not kept:
        raise TrainingError("all examples to train on are among those of --validate; give it a share, or others")
    return kept


def few_of(held: Sequence[Example]) -> list[Example]:
    """Those that are measured: all of them, or as many as are worth it, the same each time."""
    return sorted(held, key=lambda example: _place(example.key))[:MOST_EXAMPLES]


@dataclass(kw_only=True)
class Standing:
    """How a training's checkpoints have done so far, on these very examples; a checkpoint keeps it."""

    of: str
    """Digest of the examples' names."""
    best: float = -math.inf
    """The greatest score: the PSNR, or where there are no targets the KID with its sign turned."""
    since_best: int = 0
    """How many checkpoints came after that one."""

    @classmethod
    def after(cls, held_out: Sequence[Mapping[str, Any]], kept: Mapping[str, Any], by: str = "") -> "Standing":
        """What a checkpoint kept, if that was measured on the same examples: scores of others can't be compared, nor
        those `by` another network's features."""
        of = short_digest(
            "\n".join([*(row["key"] for row in held_out), *filter(None, [by])]).encode("utf-8", "surrogateescape")
        )
        return cls(**kept) if kept.get("of") == of else cls(of=of)

    def note(self, scores: Mapping[str, float]) -> None:
        """Another checkpoint has these scores."""
        score = scores[PSNR] if PSNR in scores else -scores[KID]
        self.since_best = 0 if score > self.best else self.since_best + 1
        self.best = max(self.best, score)


class Validation:
    """The held-out examples in the first worker."""

    def __init__(self, recipe: Recipe, shard: ExampleCache, standing: Standing, lpips: LPIPS | None = None) -> None:
        """
        Args:
            lpips: measures LPIPS, and KID where there are no targets.

        Raises:
            TrainingError: the recipe can't use one of the examples.
        """
        self._recipe, self.standing, self._lpips = recipe, standing, lpips
        self._examples = [fixed_samples(recipe, shard, [index]) for index in range(len(shard))]

    @torch.no_grad()
    def measured(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Means over the examples, by name; `network` is the exported one in eval mode."""
        shown = [self._shown(network, device, example) for example in self._examples]
        if not self._recipe.has_target:
            return {KID: self._kernel_distance(shown)}
        pairs = [pair for made, targets in shown for pair in zip(made, targets, strict=True)]
        found = {PSNR: _mean([min(psnr_db(made, target), LARGEST_PSNR_DB) for made, target in pairs])}
        if all(min(made.shape[:2]) >= SIDE_PX for made, _ in pairs):
            found[SSIM] = _mean([ssim(made, target) for made, target in pairs])
        if self._lpips:
            found[LPIPS_NAME] = _mean([float(self._lpips(*map(_planes, both)).mean()) for both in shown])
        return found

    def _shown(self, network: nn.Module, device: torch.device, example: Mapping[str, Tensor]) -> Shown:
        """What the network makes of an example, and what that should be, or be like."""
        batch = {name: values.to(device) for name, values in example.items()}
        preview = self._recipe.preview(batch, network)
        wanted = preview.target if self._recipe.has_target else preview.like
        assert wanted is not None, "a recipe that is validated has one or the other"
        return _pixels(preview.output), _pixels(wanted)

    def _kernel_distance(self, shown: Sequence[Shown]) -> float:
        assert self._lpips is not None, "without targets there is a loss network"
        ours, theirs = (
            np.concatenate([self._lpips.features(_planes(x)) for x in side]) for side in zip(*shown, strict=True)
        )
        return kernel_distance(ours, theirs)


def _pixels(images: Tensor) -> np.ndarray:
    """float [N, C, H, W] in [0, 1] -> uint8 [N, H, W, C]"""
    return (images.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _planes(pixels: np.ndarray) -> Tensor:
    """uint8 [N, H, W, C] -> [N, 3, H, W]"""
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return planes.expand(-1, 3, -1, -1)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
