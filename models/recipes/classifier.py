"""A small VGG that learns classes, so that perceptual losses have a loss network where no published one is at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.networks.vgg import VGG
from recast.models.pixels import to_range
from recast.models.recipes.decay import constant_then_linear
from recast.models.recipes.jitter import recoloured, square
from recast.models.recipes.phases import Batch, Loss, Part, Phase
from recast.models.recipes.ranges import Features, Layers, Pixels, Share, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(RecipeConfig):
    """Settings of the classifier recipe."""

    size_px: Pixels = 64
    """Side of the images that are trained on; a multiple of 32."""
    width: Features = 16
    """Features of the first block; they double from block to block up to eight times as many (VGG: 64)."""
    depth: Layers = 2
    """Convolutions of each of the five blocks, in the first two at most 2 (VGG19: 4, VGG16: 3)."""
    least_area: Annotated[float, Within(1e-3, 1)] = 0.35
    """Least share of an image that a random square shows."""
    colour_jitter: Share = 0.3
    """How far brightness, contrast and saturation are changed at random."""
    label_smoothing: Share = 0.1
    """Share of the target that goes to all classes alike (Szegedy et al. 2016, section 7)."""
    constant_share: Share = 0.5
    """Share of the steps at the full learning rate; then it falls linearly to 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size_px % 32:
            raise ValueError(f"size_px is {self.size_px}; it must be a multiple of 32")


class Classifier(Recipe):
    """image x -> class y: minimise the cross entropy."""

    images_per_example = 1
    columns = ("Input", "Output")
    labelled = True

    def __init__(self, config: ClassifierConfig, assets: RecipeAssets) -> None:
        self.config = config
        blocks = [[config.width * min(2**n, 8)] * min(config.depth, 2 if n < 2 else 4) for n in range(5)]
        arguments = {"blocks": blocks, "classes": len(assets.classes)}
        self.networks: dict[str, nn.Module] = {"C": VGG(blocks=blocks, classes=len(assets.classes))}
        parameters = self.networks["C"].parameters()
        self.optimizers = {"C": torch.optim.AdamW(parameters, lr=config.learning_rate, fused=True)}
        descriptor = Descriptor(task="classify", size_multiple=32, min_size_px=32)
        self.exported = Exported(name="C", network="vgg", arguments=arguments, descriptor=descriptor)

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x: [3, size, size], a random square of an image in changed colours; label: int64 [], the class y."""
        (image,), c = raw.images, self.config
        x = square(image, rng, size_px=c.size_px, mirror=True, augment=augment, least_area=c.least_area)
        x = recoloured(x, rng, c.colour_jitter) if augment else x
        return {"x": x, "label": torch.tensor(raw.label)}

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="C", loss=self.c_loss)]

    def c_loss(self, part: Part) -> Loss:
        x, y = to_range(part.batch["x"], 0, 1), part.batch["label"]
        logits = self.networks["C"](x).float()
        loss = F.cross_entropy(logits, y, label_smoothing=self.config.label_smoothing)
        return loss, {"C cross entropy": loss, "accuracy": (logits.argmax(1) == y).float().mean()}

    def lr_factor(self, step: int) -> float:
        return constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """What it sees, and where the features of its last block are strongest."""
        x = to_range(batch["x"], 0, 1)
        assert isinstance(generator, VGG)
        last = generator.names[-2]
        strength = generator.taps(x, {last})[last].float().square().mean(1, keepdim=True)
        strength = strength / strength.amax((2, 3), keepdim=True).clamp_min(1e-8)
        return Preview(x, x * F.interpolate(strength, size=x.shape[2:], mode="bilinear").clamp(0, 1), None)


SMALL = ClassifierConfig(steps=1_500, batch_size=32, learning_rate=1e-3)
"""VGG's five blocks at a quarter of the width: for a CPU."""

TINY = ClassifierConfig(steps=6, batch_size=4, learning_rate=1e-3, size_px=32, width=4, depth=1)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"small": SMALL, "tiny": TINY}
