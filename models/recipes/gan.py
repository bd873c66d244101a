"""Images from noise: G learns to make what D can't tell from the data.

Goodfellow et al. 2014, "Generative adversarial networks" (arXiv:1406.2661), with the networks and settings of Radford
et al. 2016 (DCGAN, arXiv:1511.06434).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recast.models import draws
from recast.models.descriptor import Descriptor
from recast.models.losses.adversarial import ADVERSARIAL, Adversarial, check_norm
from recast.models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from recast.models.pixels import SIGNED, to_range, to_unit
from recast.models.recipes.decay import constant_then_linear
from recast.models.recipes.jitter import square
from recast.models.recipes.phases import Batch, Loss, Part, Phase
from recast.models.recipes.ranges import Count, Decay, Features, Pixels, Share
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig

SHOWN = 36
"""Latents that stay the same over a training, for people to look at."""


@dataclass(frozen=True, kw_only=True)
class GANConfig(RecipeConfig):
    """Settings of the gan and cgan recipes; the defaults are DCGAN's (section 4) where it states them."""

    size_px: Pixels = 64
    """Side of the images: 8, 16, 32, 64, …"""
    mirror: bool = True
    """Whether images are mirrored at random."""
    latent: Features = 100
    """Values of the noise z, drawn from N(0, 1)."""
    ngf: Features = 64
    """Features of G's last hidden layer; each layer before has twice as many."""
    ndf: Features = 64
    """Features of D's first layer; each layer after has twice as many."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Normalisation of both networks."""
    adversarial: Adversarial = "vanilla"
    """Name of the adversarial loss."""
    d_steps: Count = 1
    """D's steps for each of G's (k in algorithm 1), each with its own part of the batch."""
    beta1: Decay = 0.5
    """beta1 of Adam (DCGAN, section 4: 0.5; 0 for wgan-gp)."""
    beta2: Decay = 0.999
    """beta2 of Adam (0.9 for wgan-gp)."""
    constant_share: Share = 1.0
    """Share of the steps at the full learning rate; then it falls linearly to 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.adversarial, self.norm)
        if self.d_steps < 1 or self.batch_size % self.d_steps:
            raise ValueError(f"batch_size is {self.batch_size}; it must be a multiple of d_steps, {self.d_steps}")

    @property
    def shares(self) -> int:
        """One for each step of D."""
        return self.d_steps


class GAN(Recipe):
    """min_G max_D E log D(x) + E log(1 - D(G(z))) (equation 1), or what `adversarial` says instead."""

    images_per_example = 1
    columns = ()

    def __init__(self, config: GANConfig, assets: RecipeAssets) -> None:
        self.config = config
        self.adversarial = ADVERSARIAL[config.adversarial]
        classes = len(assets.classes) if self.labelled else 0
        arguments: dict[str, Any] = {
            "size_px": config.size_px,
            "latent": config.latent,
            "ngf": config.ngf,
            "norm": config.norm,
            "classes": classes,
        }
        G = DCGANGenerator(**arguments)
        D = DCGANDiscriminator(size_px=config.size_px, ndf=config.ndf, norm=config.norm, classes=classes)
        self.networks = {"G": G, "D": D}
        betas = (config.beta1, config.beta2)
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=betas, fused=True)
            for name, net in self.networks.items()
        }
        self.shown = torch.randn(SHOWN, config.latent, generator=torch.Generator().manual_seed(0))
        conditions = ("latent", "label") if classes else ("latent",)
        descriptor = Descriptor(task="generate", value_range=SIGNED, conditions=conditions)
        self.exported = Exported(name="G", network="dcgan_generator", arguments=arguments, descriptor=descriptor)

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x: [3, size, size], the largest square of an image, at a random place of its longer side."""
        (image,) = raw.images
        return {"x": square(image, rng, size_px=self.config.size_px, mirror=self.config.mirror, augment=augment)}

    def conditions(self, batch: Batch) -> tuple[Tensor, ...]:
        """What both networks are told besides: nothing."""
        return ()

    def phases(self) -> Sequence[Phase]:
        """Algorithm 1: k steps of D, each on its own share of the batch; the last share teaches G, too."""
        last = self.config.d_steps - 1
        d_steps = [
            Phase(optimizer="D", loss=partial(self.d_loss, teaches_g=share == last), share=share)
            for share in range(self.config.d_steps)
        ]
        return [*d_steps, Phase(optimizer="G", loss=self.g_loss, fixed=("D",), share=last)]

    def d_loss(self, part: Part, *, teaches_g: bool) -> Loss:
        D, gan, given = self.networks["D"], self.adversarial, self.conditions(part.batch)
        with torch.set_grad_enabled(teaches_g):
            x, fake = self.real_and_fake(part)
        real_logits, fake_logits = D(x, *given).float(), D(fake.detach(), *given).float()
        d_real, d_fake = gan.real(real_logits), gan.fake(fake_logits)
        penalty = gan.penalty(lambda images: D(images, *given), x, fake.detach())
        return d_real + d_fake + penalty, {
            "D real": d_real,
            "D fake": d_fake,
            "D penalty": penalty,
            **gan.scores(real_logits, fake_logits),
        }

    def g_loss(self, part: Part) -> Loss:
        D, given = self.networks["D"], self.conditions(part.batch)
        x, fake = self.real_and_fake(part)
        adversarial = self.adversarial.generator_loss(D(fake, *given).float())
        return adversarial, {"G adversarial": adversarial, "diversity": _spread(fake.detach()) / _spread(x)}

    def real_and_fake(self, part: Part) -> tuple[Tensor, Tensor]:
        """x and G(z)."""

        def made() -> tuple[Tensor, Tensor]:
            x = to_range(part.batch["x"], *SIGNED)
            z = draws.randn(len(x), self.config.latent, device=x.device)
            return x, self.networks["G"](z, *self.conditions(part.batch)).float()

        return part.once("x and G(z)", made)

    def lr_factor(self, step: int) -> float:
        return constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        z = self.shown.to(batch["x"].device)
        return Preview(None, to_unit(generator(z, *self._shown_conditions(batch)), *SIGNED), None)

    def _shown_conditions(self, batch: Batch) -> tuple[Tensor, ...]:
        return ()


def _spread(images: Tensor) -> Tensor:
    """How different images [N, C, H, W] of one batch are: the standard deviation over them, averaged over pixels.

    That of generated over that of real images is near 1 where G is as varied as the data, and near 0 where it makes one
    image of all latents (mode collapse).
    """
    return images.std(dim=0, unbiased=False).mean() + 1e-8


PAPER = GANConfig(steps=39_500, batch_size=128, learning_rate=2e-4, ema_decay=0.0)
"""DCGAN (section 4): 64 px, batches of 128, Adam at 2e-4 with beta1 0.5. Steps: 25 epochs of CelebA's 202,599 faces."""

WGAN_GP = dataclasses.replace(
    PAPER, steps=100_000, batch_size=320, learning_rate=1e-4, adversarial="wgan-gp", norm="instance", d_steps=5,
    beta1=0.0, beta2=0.9, constant_share=0.0,
)  # fmt: skip
"""WGAN-GP (Gulrajani et al. 2017, algorithm 1 and appendix): five critic steps of 64 images for each of G's, Adam at
1e-4 with betas 0 and 0.9, falling linearly to 0."""

SMALL = dataclasses.replace(
    PAPER, steps=3_000, batch_size=64, size_px=32, latent=32, ngf=32, ndf=32, ema_decay=0.995, constant_share=0.5
)
"""32 px at half the width: for a CPU."""

TINY = GANConfig(steps=6, batch_size=4, learning_rate=2e-4, size_px=16, latent=8, ngf=4, ndf=4, d_steps=2)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"paper": PAPER, "wgan-gp": WGAN_GP, "small": SMALL, "tiny": TINY}
