"""New faces for old: G paints a face that nobody has into the surroundings of one that it never sees.

After Hukkelås et al. 2019, "DeepPrivacy" (arXiv:1909.04538): conditional inpainting from surroundings and landmarks. In
training, an encoder E reads each face into a latent code that G paints it from, beside faces from codes drawn at
random, which D judges (Larsen et al. 2016, VAE-GAN, arXiv:1512.09300): G learns what faces are in a fraction of the
steps, and can't forget its code. E is no part of the bundle.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recast.models import draws
from recast.models.descriptor import Descriptor
from recast.models.losses.adversarial import ADVERSARIAL, Adversarial
from recast.models.networks.face_generator import (
    FaceEncoder,
    FaceGenerator,
    landmark_heatmaps,
    noisy,
    on_sphere,
    uniformity,
)
from recast.models.networks.patchgan import PatchGAN
from recast.models.pixels import SIGNED, to_range, to_unit
from recast.models.recipes.decay import constant_then_linear
from recast.models.recipes.face_examples import FaceConfig, face_example
from recast.models.recipes.phases import Batch, Loss, Part, Phase, Road
from recast.models.recipes.ranges import Features, Share, Weight, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets


@dataclass(frozen=True, kw_only=True)
class DeidentifyConfig(FaceConfig):
    """Settings of the deidentify recipe."""

    latent: Features = 512
    """Numbers that a face is made of."""
    ndf: Features = 64
    """Features of the discriminator's first layer."""
    patch_layers: Annotated[int, Within(0, 14)] = 4
    """Layers of the discriminator; 4 judge patches of 142 px, 3 of 70 px."""
    adversarial: Adversarial = "vanilla"
    """Name of the adversarial loss."""
    lambda_painted: Weight = 20.0
    """Weight of |x - G(E(x))|."""
    lambda_spread: Weight = 1.0
    """Weight of the uniformity of latent codes: those of different faces are to fill the sphere that z is drawn on."""
    noise: Share = 0.1
    """Share of noise in the latent codes that E reads."""
    constant_share: Share = 0.6
    """Share of the steps at the full learning rate; then it falls linearly to 0."""

    def arguments(self) -> dict[str, Any]:
        """The arguments of the exported network."""
        return {name: getattr(self, name) for name in ("size_px", "width", "latent", "context", "margin")}


class Faces(NamedTuple):
    """Faces of a part of a batch, and what was painted of them."""

    x: Tensor
    """[N, 3, S, S], as they are."""
    given: Tensor
    """[N, 6, S, S], what D is told besides: the mask and where the landmarks are."""
    read: Tensor
    """[N, latent], what E reads in x."""
    painted: Tensor
    """[N, 3, S, S], G(E(x))."""
    fake: Tensor
    """[N, 3, S, S], G(z)."""


class Deidentify(Recipe):
    """min_{G,E} max_D L(D(x), D(G(surroundings, landmarks, z))) + lambda |x - G(surroundings, landmarks, E(x))|."""

    images_per_example = 1
    regions = "each"
    painter_name: ClassVar[str] = "G"
    network: ClassVar[str] = "face_generator"
    painter: ClassVar[Callable[..., nn.Module]] = FaceGenerator
    """The exported network: its name here, its name in bundles, its class."""
    conditions: ClassVar[tuple[str, ...]] = ("mask", "landmarks", "latent")

    def __init__(self, config: DeidentifyConfig, assets: RecipeAssets) -> None:
        self.config = config
        self.adversarial = ADVERSARIAL[config.adversarial]
        arguments = config.arguments()
        P = self.painter(**arguments)
        E = FaceEncoder(size_px=config.size_px, width=config.width, latent=config.latent)
        D = PatchGAN(in_channels=3 + 1 + 5, ndf=config.ndf, layers=config.patch_layers, norm="none")
        self.networks: dict[str, nn.Module] = {self.painter_name: P, "E": E, "D": D}
        parameters = {self.painter_name: [*P.parameters(), *E.parameters()], "D": list(D.parameters())}
        self.optimizers = {
            name: torch.optim.Adam(of, lr=config.learning_rate, betas=(0.5, 0.99), fused=True)
            for name, of in parameters.items()
        }
        descriptor = Descriptor(
            task="deidentify",
            size_multiple=config.size_px,
            min_size_px=config.size_px,
            value_range=SIGNED,
            conditions=self.conditions,
        )
        self.exported = Exported(
            name=self.painter_name, network=self.network, arguments=arguments, descriptor=descriptor
        )

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """See `face_example`."""
        assert raw.regions is not None
        return face_example(raw.images[0], raw.regions[0], rng, self.config, augment=augment)

    def phases(self) -> Sequence[Phase]:
        return [
            Phase(optimizer="D", loss=self.d_loss),
            Phase(optimizer=self.painter_name, loss=self.g_loss, fixed=("D",)),
        ]

    def prepared(self, batch: Batch, road: Road) -> Batch:
        """With the area of all masks in the batches of all workers together."""
        return batch | {"mask area": road.total(to_range(batch["mask"], 0, 1).sum())}

    def mixing(self) -> list[str]:
        spread = ["the spread of the batch's latent codes"] if self.config.lambda_spread else []
        return super().mixing() + spread

    def d_loss(self, part: Part) -> Loss:
        D, gan, faces = self.networks["D"], self.adversarial, self.faces_of(part)
        real_logits = D(torch.cat([faces.x, faces.given], 1)).float()
        fake_logits = D(torch.cat([faces.fake.detach(), faces.given], 1)).float()
        d_real, d_fake = gan.real(real_logits), gan.fake(fake_logits)
        return d_real + d_fake, {"D real": d_real, "D fake": d_fake, **gan.scores(real_logits, fake_logits)}

    def g_loss(self, part: Part) -> Loss:
        """What painting faces costs G and E."""
        c, faces = self.config, self.faces_of(part)
        logits = self.networks["D"](torch.cat([faces.fake, faces.given], 1)).float()
        g_adversarial = self.adversarial.generator_loss(logits)
        g_painted = self.in_masks(faces.painted - faces.x, part)
        g_spread = uniformity(part.gathered(faces.read))
        return g_adversarial + c.lambda_painted * g_painted + c.lambda_spread * g_spread, {
            "G adversarial": g_adversarial,
            "G painted L1": g_painted,
            "G spread": g_spread,
        }

    def in_masks(self, difference: Tensor, part: Part) -> Tensor:
        """The mean absolute difference of values in masks, of images that differ nowhere else."""
        return difference.abs().sum() / (3 * part.batch["mask area"] * part.fraction)

    def faces_of(self, part: Part) -> Faces:
        return part.once("faces", lambda: self.painted(part.batch))

    def painted(self, batch: Batch) -> Faces:
        G, E = self.networks["G"], self.networks["E"]
        x, mask = to_range(batch["face"], *SIGNED), to_range(batch["mask"], 0, 1)
        surroundings, landmarks = to_range(batch["surroundings"], *SIGNED), batch["landmarks"]
        x = torch.lerp(surroundings, x, mask)  # differs from a fake in the mask alone
        twice = [torch.cat([t, t]) for t in (surroundings, mask, landmarks)]
        return self.imagined(x, mask, landmarks, E(x, mask), lambda latent: G(*twice, latent))

    def imagined(
        self, x: Tensor, mask: Tensor, landmarks: Tensor, read: Tensor, imagine: Callable[[Tensor], Tensor]
    ) -> Faces:
        """Faces from the latent codes that were read in x, and from others.

        Args:
            read: [N, latent], what E reads in x.
            imagine: latent codes [2 N, latent] -> faces in the surroundings of x, twice.
        """
        c = self.config
        given = torch.cat([mask, landmark_heatmaps(landmarks, c.size_px)], 1)
        z = on_sphere(draws.randn(len(x), c.latent, device=x.device))
        painted, fake = imagine(torch.cat([noisy(read, c.noise), z])).float().chunk(2)
        return Faces(x, given, read, painted, fake)

    def lr_factor(self, step: int) -> float:
        return constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """What G sees; a face for it; the face that was there."""
        surroundings, mask = to_range(batch["surroundings"], *SIGNED), to_range(batch["mask"], 0, 1)
        random = torch.Generator().manual_seed(0)
        z = on_sphere(torch.randn(len(mask), self.config.latent, generator=random)).to(mask.device)
        made = generator(surroundings, mask, batch["landmarks"], z)
        return Preview(to_range(batch["surroundings"], 0, 1), to_unit(made, *SIGNED), to_range(batch["face"], 0, 1))


BASE = DeidentifyConfig(steps=100_000, batch_size=32, learning_rate=2e-4, size_px=128, ema_decay=0.999)
"""Photographs of faces at 128 px, on a GPU."""

TINY = dataclasses.replace(
    BASE, steps=1_500, batch_size=16, learning_rate=1e-3, size_px=64, width=24, latent=16, ndf=32, patch_layers=3,
    lambda_painted=10.0, lambda_spread=0.5, noise=0.3, ema_decay=0.99,
)  # fmt: skip
"""Drawn faces (`recast sample faces`) in minutes on two CPU cores."""

LEAST = dataclasses.replace(TINY, steps=6, batch_size=2, size_px=16, width=4, latent=8, ndf=4, patch_layers=1)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"base": BASE, "tiny": TINY, "least": LEAST}
