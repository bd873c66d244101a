"""One style for any image: a transform network learns it from the features of a classifier.

Johnson et al. 2016, "Perceptual losses for real-time style transfer and super-resolution" (arXiv:1603.08155), with
instance norm (Ulyanov et al. 2016, arXiv:1607.08022).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.losses.perceptual import feature_distance, gram, layers, style_distance, total_variation
from recast.models.networks.transform_net import TransformNet
from recast.models.networks.vgg import vgg_of
from recast.models.pixels import to_range, to_unit
from recast.models.recipes.jitter import square
from recast.models.recipes.phases import Batch, Loss, Part, Phase
from recast.models.recipes.ranges import Features, Pixels, PixelsOrNone, Weight
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig

BYTES = (0.0, 255.0)
"""The range of the transform network, in and out."""


@dataclass(frozen=True, kw_only=True)
class StyleTransferConfig(RecipeConfig):
    """Settings of the style_transfer recipe; the defaults are the paper's (section 4.1) where it states them."""

    size_px: Pixels = 256
    """Side of the images that are trained on; a multiple of 4."""
    style_px: PixelsOrNone = 256
    """Length that the style image's shorter side is brought to; strokes are learned at this size. 0: as it is."""
    width: Features = 32
    """Features of the transform network's first layer."""
    content_layers: str = "relu2_2"
    """Layers of the loss network whose features are kept, each perhaps with `:weight`."""
    style_layers: str = "relu1_2,relu2_2,relu3_3,relu4_3"
    """Layers whose Gram matrices become the style image's."""
    content_weight: Weight = 1e5
    """Weight of the feature distance (torch's example; features of images in [0, 1], normalised as ImageNet's)."""
    style_weight: Weight = 1e10
    """Weight of the distance of Gram matrices (torch's example)."""
    tv_weight: Weight = 0.0
    """Weight of the total variation of the result in [0, 255] (section 3.2), which smooths it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size_px % 4:
            raise ValueError(f"size_px is {self.size_px}; it must be a multiple of 4")


class StyleTransfer(Recipe):
    """argmin_W E[c l_feat(f_W(x), x) + s l_style(f_W(x), y_s) + t l_TV(f_W(x))] (equations 1 and 5)."""

    images_per_example = 1
    columns = ("Input", "Output", "Style")
    channels_last = False  # torch's instance norm is slow to differentiate so
    needs = frozenset({"loss_network", "style_image"})

    def __init__(self, config: StyleTransferConfig, assets: RecipeAssets) -> None:
        self.config = config
        assert assets.loss_network is not None
        assert assets.style_image is not None
        self.loss_network = vgg_of(assets.loss_network)
        self.fixed = {"loss network": self.loss_network}
        self.content_layers = layers(config.content_layers, self.loss_network)
        self.style_layers = layers(config.style_layers, self.loss_network)
        self.style_image = _as_unit(assets.style_image, config.style_px)
        with torch.no_grad():
            features = self.loss_network.taps(self.style_image, self.style_layers)
        self.style = {name: gram(tap) for name, tap in features.items()}
        arguments = {"width": config.width}
        G = TransformNet(**arguments)
        self.networks = {"G": G}
        self.optimizers = {"G": torch.optim.Adam(G.parameters(), lr=config.learning_rate, fused=True)}
        descriptor = Descriptor(task="translate", size_multiple=4, min_size_px=16, value_range=BYTES)
        self.exported = Exported(name="G", network="transform_net", arguments=arguments, descriptor=descriptor)

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x: [3, size, size], the largest square of an image."""
        (image,) = raw.images
        return {"x": square(image, rng, size_px=self.config.size_px, mirror=False, augment=augment)}

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="G", loss=self.g_loss)]

    def g_loss(self, part: Part) -> Loss:
        c, x = self.config, to_range(part.batch["x"], *BYTES)
        y = self.networks["G"](x).float()
        with torch.no_grad():
            wanted = self.loss_network.taps(x / 255, self.content_layers)
        features = self.loss_network.taps(y / 255, self.content_layers | self.style_layers)
        style = {name: matrix.to(x.device) for name, matrix in self.style.items()}
        content = c.content_weight * feature_distance(features, wanted, self.content_layers)
        styled = c.style_weight * style_distance(features, style, self.style_layers)
        smooth = c.tv_weight * total_variation(y)
        return content + styled + smooth, {"G content": content, "G style": styled, "G total variation": smooth}

    def lr_factor(self, step: int) -> float:
        return 1.0

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        x = to_range(batch["x"], *BYTES)
        side = self.config.size_px
        style = F.interpolate(self.style_image, size=(side, side), mode="bilinear", antialias=True).clamp(0, 1)
        return Preview(to_unit(x, *BYTES), to_unit(generator(x), *BYTES), style.expand(len(x), -1, -1, -1))


def _as_unit(image: np.ndarray, shorter_side: int) -> Tensor:
    """uint8 [H, W, 3] -> float [1, 3, h, w] in [0, 1]."""
    if shorter_side:
        factor = shorter_side / min(image.shape[:2])
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    return to_range(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None], 0, 1)


PAPER = StyleTransferConfig(steps=40_000, batch_size=4, learning_rate=1e-3)
"""Section 4.1: 256 px, batches of 4, Adam at 1e-3, 40,000 steps (two epochs of COCO's 82,783 photographs)."""

SMALL = dataclasses.replace(
    PAPER, steps=3_000, size_px=128, style_px=128, width=16, content_layers="relu2_2",
    style_layers="relu1_2,relu2_2,relu3_2,relu4_2", style_weight=4e8,
)  # fmt: skip
"""128 px at half the width, with a loss network of the classifier recipe, whose features are larger than VGG's."""

TINY = StyleTransferConfig(
    steps=6, batch_size=2, learning_rate=1e-3, size_px=32, style_px=32, width=4, content_layers="relu2_1",
    style_layers="relu1_1,relu2_1",
)  # fmt: skip
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"paper": PAPER, "small": SMALL, "tiny": TINY}
