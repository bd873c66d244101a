"""Paired translation: a U-Net paints y from x, and a PatchGAN learns to tell (x, G(x)) from (x, y).

Isola et al. 2017, "Image-to-image translation with conditional adversarial networks" (arXiv:1611.07004).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.losses.adversarial import ADVERSARIAL, Adversarial, check_norm
from recast.models.networks.patchgan import patch_discriminator
from recast.models.networks.unet import UNet
from recast.models.pixels import SIGNED, to_range, to_unit
from recast.models.recipes.decay import constant_then_linear
from recast.models.recipes.jitter import jittered, luma
from recast.models.recipes.phases import Batch, Loss, Part, Phase
from recast.models.recipes.ranges import Decay, Features, Pixels, Share, Weight, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig


@dataclass(frozen=True, kw_only=True)
class Pix2PixConfig(RecipeConfig):
    """Settings of the pix2pix recipe; the defaults are the paper's (section 3.3 and 6.2) where it states them."""

    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which image of a pair is the input: A (AtoB) or B (BtoA)."""
    colourise: bool = False
    """Whether the data are single photographs, to be painted from their luma."""
    size_px: Pixels = 256
    """Side of the squares that are trained on; a multiple of 2^num_downs."""
    load_px: Pixels = 286
    """Pairs are resized to this side, then cut to `size_px` at random (section 6.2: random jitter)."""
    mirror: bool = True
    """Whether pairs are mirrored at random (section 6.2)."""
    num_downs: Annotated[int, Within(1, 14)] = 8
    """Times that the U-Net halves its input."""
    ngf: Features = 64
    """Features of the U-Net's first level."""
    ndf: Features = 64
    """Features of the discriminator's first layer."""
    patch_layers: Annotated[int, Within(0, 14)] = 3
    """Layers of the discriminator; it judges patches of 70 px with 3, of 16 px with 1, 286 px with 5, 1 px with 0."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Normalisation; at batch size 1 the paper's batch norm is an instance norm (section 3.3)."""
    dropout: Decay = 0.5
    """Share of features that dropout sets to 0, as the noise z (section 3.1)."""
    adversarial: Adversarial = "vanilla"
    """Name of the adversarial loss."""
    lambda_l1: Weight = 100.0
    """Weight of |y - G(x)| (equation 4; 100 in section 4)."""
    constant_share: Share = 0.5
    """Share of the steps at the full learning rate; then it falls linearly to 0 (the reference: 100 of 200 epochs)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size_px % 2**self.num_downs:
            raise ValueError(
                f"size_px is {self.size_px}; with num_downs {self.num_downs} it must be a multiple of "
                f"{2**self.num_downs}"
            )
        check_norm(self.adversarial, self.norm)
        if self.load_px < self.size_px:
            raise ValueError(f"load_px is {self.load_px}; it must be at least size_px, {self.size_px}")


class Pix2Pix(Recipe):
    """G* = arg min_G max_D L_cGAN(G, D) + lambda L_L1(G) (equation 4)."""

    images_per_example = 2
    has_target = True
    channels_last = (
        False  # torch's instance norm is slow to differentiate so, and most of a U-Net's weights see few pixels
    )

    def __init__(self, config: Pix2PixConfig, assets: RecipeAssets) -> None:
        self.config = config
        self.adversarial = ADVERSARIAL[config.adversarial]
        channels = 1 if config.colourise else 3
        arguments: dict[str, Any] = {
            "in_channels": channels,
            "num_downs": config.num_downs,
            "ngf": config.ngf,
            "norm": config.norm,
            "dropout": config.dropout,
        }
        G = UNet(**arguments)
        D = patch_discriminator(in_channels=channels + 3, ndf=config.ndf, layers=config.patch_layers, norm=config.norm)
        self.networks = {"G": G, "D": D}
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=(0.5, 0.999), fused=True)
            for name, net in self.networks.items()
        }
        multiple = 2**config.num_downs
        descriptor = Descriptor(
            task="translate",
            in_channels=channels,
            size_multiple=multiple,
            min_size_px=multiple,
            value_range=SIGNED,
        )
        self.exported = Exported(name="G", network="unet", arguments=arguments, descriptor=descriptor)

    @classmethod
    def images_in(cls, config: Pix2PixConfig) -> int:
        return 1 if config.colourise else 2

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x, y: [3 or 1, size, size] and [3, size, size], input and target, resized, cut and mirrored alike."""
        c = self.config
        pair = raw.images if c.direction == "AtoB" else raw.images[::-1]
        cuts = jittered(pair, rng, load_px=c.load_px, size_px=c.size_px, mirror=c.mirror, augment=augment)
        if c.colourise:
            (y,) = cuts
            return {"x": luma(y), "y": y}
        x, y = cuts
        return {"x": x, "y": y}

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="D", loss=self.d_loss), Phase(optimizer="G", loss=self.g_loss, fixed=("D",))]

    def d_loss(self, part: Part) -> Loss:
        D, gan = self.networks["D"], self.adversarial
        x, y, fake = self.images(part)
        real_logits = D(torch.cat([x, y], 1)).float()
        fake_logits = D(torch.cat([x, fake.detach()], 1)).float()
        d_real, d_fake = gan.real(real_logits), gan.fake(fake_logits)
        penalty = gan.penalty(lambda images: D(torch.cat([x, images], 1)), y, fake.detach())
        loss = 0.5 * (d_real + d_fake + penalty)  # halved to slow D down relative to G (section 3.3)
        return loss, {"D real": d_real, "D fake": d_fake, **gan.scores(real_logits, fake_logits)}

    def g_loss(self, part: Part) -> Loss:
        x, y, fake = self.images(part)
        g_adversarial = self.adversarial.generator_loss(self.networks["D"](torch.cat([x, fake], 1)).float())
        g_l1 = F.l1_loss(fake, y)
        return g_adversarial + self.config.lambda_l1 * g_l1, {"G adversarial": g_adversarial, "G L1": g_l1}

    def images(self, part: Part) -> tuple[Tensor, Tensor, Tensor]:
        """x, y and G(x)."""

        def painted() -> tuple[Tensor, Tensor, Tensor]:
            x, y = to_range(part.batch["x"], *SIGNED), to_range(part.batch["y"], *SIGNED)
            return x, y, self.networks["G"](x).float()

        return part.once("x, y, G(x)", painted)

    def lr_factor(self, step: int) -> float:
        return constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        x = to_range(batch["x"], *SIGNED)
        shown = to_unit(x, *SIGNED).expand(-1, 3, -1, -1)  # grey as colour, too
        return Preview(shown, to_unit(generator(x), *SIGNED), to_range(batch["y"], 0, 1))


PAPER = Pix2PixConfig(steps=80_000, batch_size=1, learning_rate=2e-4)
"""Facades as in the paper (section 6.2): 400 pairs, 200 epochs at batch size 1, Adam at 2e-4 with beta1 0.5; the
reference lets it fall linearly over the second half. FID on facades: 119 (the official weights, measured by mmagic)."""

COLOURISE = dataclasses.replace(PAPER, colourise=True, steps=1_800_000, batch_size=4, load_px=256, patch_layers=3)
"""Black and white to colour as in the paper (section 6.2): some 6 epochs of ImageNet's 1.2 million photographs at batch
size 4, mirrored, without jitter. Takes photographs, not pairs."""

DEMO = Pix2PixConfig(
    direction="BtoA", steps=900, batch_size=8, learning_rate=5e-4, size_px=128, load_px=128,
    num_downs=5, ngf=32, ndf=32, patch_layers=2, norm="instance", dropout=0.0, lambda_l1=50.0, ema_decay=0.98,
)  # fmt: skip
"""Procedural facades (`recast sample facades`) in about two minutes on two CPU cores with two workers."""

TINY = dataclasses.replace(DEMO, steps=6, batch_size=2, size_px=32, load_px=36, num_downs=3, ngf=8, ndf=8)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"paper": PAPER, "colourise": COLOURISE, "demo": DEMO, "tiny": TINY}
