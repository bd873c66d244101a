"""Who is who: an embedding in which faces of one person lie close together, to measure whether people are recognised.

Wang et al. 2018, "CosFace: large margin cosine loss for deep face recognition" (arXiv:1801.09414).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.faces import Window, resized
from recast.models.networks.face_embedder import FaceEmbedder
from recast.models.pixels import SIGNED, to_range
from recast.models.recipes.decay import constant_then_linear
from recast.models.recipes.face_examples import SHIFT
from recast.models.recipes.jitter import recoloured
from recast.models.recipes.phases import Batch, Loss, Part, Phase
from recast.models.recipes.ranges import Features, Pixels, Positive, Share, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig


@dataclass(frozen=True, kw_only=True)
class RecognizerConfig(RecipeConfig):
    """Settings of the recognizer recipe."""

    size_px: Pixels = 112
    """Side of the square around a face; a multiple of 16."""
    context: Annotated[float, Within(1, 8)] = 1.2
    """That square's side, in longer sides of the face's box."""
    width: Features = 64
    """Features of the first level."""
    features: Features = 512
    """Numbers of an embedding."""
    scale: Positive = 64.0
    """s of equation 4: what cosines are multiplied by."""
    margin: Share = 0.35
    """m of equation 4 (section 4.2): by how much a face must be closer to its own person's centre."""
    colour_jitter: Share = 0.15
    """How far brightness, contrast and saturation are changed at random."""
    constant_share: Share = 0.6
    """Share of the steps at the full learning rate; then it falls linearly to 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size_px % 16:
            raise ValueError(f"size_px is {self.size_px}; it must be a multiple of 16")


class Centres(nn.Module):
    """Embeddings [N, F] of length 1 -> their cosines with each person's centre [N, people]."""

    def __init__(self, people: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(people, features))

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings @ F.normalize(self.weight, dim=1).T


class Recognizer(Recipe):
    """min - log softmax(s (cos theta_y - m), s cos theta_j), equation 4."""

    images_per_example = 1
    columns = ("Input", "Most alike")
    regions = "each"
    labelled = True

    def __init__(self, config: RecognizerConfig, assets: RecipeAssets) -> None:
        self.config = config
        arguments: dict[str, Any] = {
            name: getattr(config, name) for name in ("size_px", "width", "features", "context")
        }
        self.networks = {"R": FaceEmbedder(**arguments), "centres": Centres(len(assets.classes), config.features)}
        self.optimizers = {"R": torch.optim.AdamW(
            [p for network in self.networks.values() for p in network.parameters()], lr=config.learning_rate, fused=True
        )}  # fmt: skip
        descriptor = Descriptor(
            task="recognise", size_multiple=config.size_px, min_size_px=config.size_px, value_range=SIGNED
        )
        self.exported = Exported(name="R", network="face_embedder", arguments=arguments, descriptor=descriptor)

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x: [3, size, size], the square around a face, a little moved, perhaps mirrored, in changed colours; label:
        int64 [], whose face it is."""
        assert raw.regions is not None
        (image,), c, box = raw.images, self.config, raw.regions[0, :4].astype(float)
        if augment:
            reach = max(box[2] - box[0], box[3] - box[1])
            box = box + np.tile(rng.uniform(-SHIFT, SHIFT, 2), 2) * reach
        square = resized(Window.around(box, c.context).cut(image), c.size_px)
        if augment and rng.random() < 0.5:
            square = square[:, ::-1]
        x = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))
        x = recoloured(x, rng, c.colour_jitter) if augment else x
        return {"x": x, "label": torch.tensor(raw.label)}

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="R", loss=self.r_loss)]

    def r_loss(self, part: Part) -> Loss:
        c, x, y = self.config, to_range(part.batch["x"], *SIGNED), part.batch["label"]
        cosines = self.networks["centres"](self.networks["R"](x))
        own = F.one_hot(y, cosines.shape[1])
        loss = F.cross_entropy(c.scale * (cosines - c.margin * own), y)
        return loss, {"R CosFace": loss, "accuracy": (cosines.argmax(1) == y).float().mean()}

    def lr_factor(self, step: int) -> float:
        return constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """A face, and which of the others shown is the most like it."""
        x = to_range(batch["x"], 0, 1)
        alike = generator(to_range(batch["x"], *SIGNED))
        alike = (alike @ alike.T).fill_diagonal_(-2)
        return Preview(x, x[alike.argmax(1)], None)


BASE = RecognizerConfig(steps=100_000, batch_size=256, learning_rate=1e-3)
"""Photographs of people's faces at 112 px, on a GPU."""

TINY = dataclasses.replace(
    BASE, steps=1_200, batch_size=32, learning_rate=1e-3, size_px=64, width=16, features=64, scale=24.0, margin=0.2
)
"""Drawn faces (`recast sample faces`) in minutes on two CPU cores."""

LEAST = dataclasses.replace(TINY, steps=6, batch_size=4, size_px=16, width=4, features=8)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"base": BASE, "tiny": TINY, "least": LEAST}
