"""Unpaired translation: G paints Y from X, F paints X from Y, and what goes there and back must return.

Zhu et al. 2017, "Unpaired image-to-image translation using cycle-consistent adversarial networks" (arXiv:1703.10593).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F_
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.losses.adversarial import ADVERSARIAL, Adversarial
from recast.models.networks.patchgan import patch_discriminator
from recast.models.networks.resnet_generator import ResnetGenerator
from recast.models.pixels import SIGNED, to_range, to_unit
from recast.models.recipes.decay import constant_then_linear
from recast.models.recipes.image_pool import ImagePool
from recast.models.recipes.jitter import jittered
from recast.models.recipes.phases import Batch, Loss, Part, Phase
from recast.models.recipes.ranges import CountOrNone, Features, LayersOrNone, Pixels, Share, Weight, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig


@dataclass(frozen=True, kw_only=True)
class CycleGANConfig(RecipeConfig):
    """Settings of the cyclegan recipe; the defaults are the paper's (section 4 and appendix 7) where it states them."""

    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which domain the exported network translates from: A (AtoB) or B (BtoA)."""
    size_px: Pixels = 256
    """Side of the squares that are trained on; a multiple of 4."""
    load_px: Pixels = 286
    """Images are resized to this side, then cut to `size_px` at random."""
    mirror: bool = True
    """Whether images are mirrored at random."""
    blocks: LayersOrNone = 9
    """Residual blocks of the generators: 6 for 128 px, 9 from 256 px on (appendix 7.2)."""
    ngf: Features = 64
    """Features of the generators' first layer."""
    ndf: Features = 64
    """Features of the discriminators' first layer."""
    patch_layers: Annotated[int, Within(0, 14)] = 3
    """Layers of the discriminators; 3: they judge patches of 70 px (section 4)."""
    adversarial: Adversarial = "lsgan"
    """Name of the adversarial loss (section 4: least squares)."""
    lambda_cycle: Weight = 10.0
    """Weight of the cycle consistency (equation 3; 10 in section 4)."""
    lambda_identity: Weight = 0.5
    """Weight of the identity loss, as a share of `lambda_cycle` (section 5.2: 0.5); 0: none."""
    pool_size: CountOrNone = 50
    """Generated images that each discriminator is shown again (section 4)."""
    constant_share: Share = 0.5
    """Share of the steps at the full learning rate; then it falls linearly to 0 (section 4: 100 of 200 epochs)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size_px % 4:
            raise ValueError(f"size_px is {self.size_px}; it must be a multiple of 4")
        if self.load_px < self.size_px:
            raise ValueError(f"load_px is {self.load_px}; it must be at least size_px, {self.size_px}")


class CycleGAN(Recipe):
    """G*, F* = arg min_{G,F} max_{D_X,D_Y} L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda L_cyc(G, F) (equations 3 and 4)."""

    images_per_example = 2
    has_like = True
    channels_last = False  # torch's instance norm is slow to differentiate so
    paired = False
    columns = ("Input", "Output", "Reconstruction")

    def __init__(self, config: CycleGANConfig, assets: RecipeAssets) -> None:
        self.config = config
        self.adversarial = ADVERSARIAL[config.adversarial]
        arguments: dict[str, Any] = {"blocks": config.blocks, "ngf": config.ngf, "norm": "instance", "dropout": 0.0}
        G, F = ResnetGenerator(**arguments), ResnetGenerator(**arguments)
        ndf, layers = config.ndf, config.patch_layers
        D_X, D_Y = (patch_discriminator(in_channels=3, ndf=ndf, layers=layers, norm="instance") for _ in range(2))
        self.networks = {"G": G, "F": F, "D_X": D_X, "D_Y": D_Y}
        self.optimizers = {
            name: torch.optim.Adam(
                chain(*(n.parameters() for n in networks)), lr=config.learning_rate, betas=(0.5, 0.999), fused=True
            )
            for name, networks in (("G and F", (G, F)), ("D_X and D_Y", (D_X, D_Y)))
        }
        self.pools = {"x": ImagePool(config.pool_size), "y": ImagePool(config.pool_size)}
        descriptor = Descriptor(task="translate", size_multiple=4, min_size_px=16, value_range=SIGNED)
        self.exported = Exported(name="G", network="resnet_generator", arguments=arguments, descriptor=descriptor)

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x, y: [3, size, size], an image of each domain, which have nothing to do with each other."""
        c = self.config
        x, y = raw.images if c.direction == "AtoB" else reversed(raw.images)
        return {
            name: jittered([image], rng, load_px=c.load_px, size_px=c.size_px, mirror=c.mirror, augment=augment)[0]
            for name, image in (("x", x), ("y", y))
        }

    def phases(self) -> Sequence[Phase]:
        return [
            Phase(optimizer="G and F", loss=self.g_loss, fixed=("D_X", "D_Y")),
            Phase(optimizer="D_X and D_Y", loss=self.d_loss),
        ]

    def g_loss(self, part: Part) -> Loss:
        G, F, gan, c = self.networks["G"], self.networks["F"], self.adversarial, self.config
        x, y = to_range(part.batch["x"], *SIGNED), to_range(part.batch["y"], *SIGNED)

        # Instance norm sees each image by itself, so what a generator makes of both domains comes in one forward.
        fake_y, same_y = _both(G, x, y, identity=bool(c.lambda_identity))
        fake_x, same_x = _both(F, y, x, identity=bool(c.lambda_identity))
        part.kept["fakes"] = (fake_x.detach(), fake_y.detach())
        g_adversarial = gan.generator_loss(self.networks["D_Y"](fake_y).float())
        f_adversarial = gan.generator_loss(self.networks["D_X"](fake_x).float())
        cycle_x = F_.l1_loss(F(fake_y).float(), x)
        cycle_y = F_.l1_loss(G(fake_x).float(), y)
        loss = g_adversarial + f_adversarial + c.lambda_cycle * (cycle_x + cycle_y)
        identity = torch.zeros_like(loss)
        if same_x is not None and same_y is not None:
            identity = F_.l1_loss(same_y, y) + F_.l1_loss(same_x, x)
            loss = loss + c.lambda_identity * c.lambda_cycle * identity
        return loss, {
            "G adversarial": g_adversarial,
            "F adversarial": f_adversarial,
            "cycle X": cycle_x,
            "cycle Y": cycle_y,
            "identity": identity,
        }

    def d_loss(self, part: Part) -> Loss:
        x, y = to_range(part.batch["x"], *SIGNED), to_range(part.batch["y"], *SIGNED)
        fake_x, fake_y = part.kept["fakes"]  # of G and F as they were before their update
        d_y, scores_y = self._loss_of("D_Y", y, self.pools["y"].query(fake_y))
        d_x, scores_x = self._loss_of("D_X", x, self.pools["x"].query(fake_x))
        scores = {name: 0.5 * (scores_x[name] + scores_y[name]) for name in scores_x}
        return d_y + d_x, {"D_X": d_x, "D_Y": d_y, **scores}

    def _loss_of(self, name: str, real: Tensor, fake: Tensor) -> Loss:
        """What a discriminator pays, halved to slow it down (the reference), and its scores."""
        D, gan = self.networks[name], self.adversarial
        real_logits, fake_logits = D(real).float(), D(fake).float()
        loss = gan.real(real_logits) + gan.fake(fake_logits) + gan.penalty(D, real, fake)
        return 0.5 * loss, gan.scores(real_logits, fake_logits)

    def lr_factor(self, step: int) -> float:
        return constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """An image of X; G makes one of Y of it; F should make the first of that again."""
        x = to_range(batch["x"], *SIGNED)
        made = generator(x)
        back = self.networks["F"](made)
        seen = to_unit(x, *SIGNED), to_unit(made, *SIGNED), to_unit(back, *SIGNED)
        return Preview(*seen, like=to_range(batch["y"], 0, 1))

    def state_dict(self) -> dict[str, Tensor]:
        return {name: torch.stack(pool.images).cpu() for name, pool in self.pools.items() if pool.images}

    def load_state_dict(self, state: dict[str, Tensor], device: torch.device) -> None:
        for name, images in state.items():
            self.pools[name].images = list(images.to(device))


def _both(network: nn.Module, source: Tensor, target: Tensor, *, identity: bool) -> tuple[Tensor, Tensor | None]:
    """What a generator makes of its source domain, and of the domain it paints (which it should leave as it is)."""
    if not identity:
        return network(source).float(), None
    fake, same = network(torch.cat([source, target])).float().chunk(2)
    return fake, same


PAPER = CycleGANConfig(steps=266_800, batch_size=1, learning_rate=2e-4)
"""horse2zebra as in the paper (section 4, appendix 7.1): 1,334 zebras (and 1,067 horses), 200 epochs at batch size 1,
Adam at 2e-4 with beta1 0.5, falling linearly over the second half."""

TINY = CycleGANConfig(
    steps=6, batch_size=2, learning_rate=2e-4, size_px=32, load_px=36, blocks=1, ngf=4, ndf=4, patch_layers=1,
    pool_size=3,
)  # fmt: skip
"""For tests: seconds on a CPU; learns next to nothing."""

SMALL = dataclasses.replace(
    PAPER, steps=20_000, size_px=128, load_px=143, blocks=6, ngf=32, ndf=32, batch_size=4, ema_decay=0.999
)
"""128 px with the paper's six blocks at half the width."""

PRESETS = {"paper": PAPER, "small": SMALL, "tiny": TINY}
