"""The face identity transformer: a face to another one by a code, and back to the first by the same code's inverse.

After Gu et al. 2020, "Password-conditioned anonymization and deanonymization with face identity transformers"
(arXiv:1911.11759): one network, a code in, its inverse back, and wrong codes that lead to wrong faces. There a code is
16 bits beside the pixels; here it is 128 that choose a rotation of a latent code, whose inverse is the inverse code.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.descriptor import Descriptor
from models.losses.adversarial import ADVERSARIAL, Adversarial
from models.networks.face_generator import ROUNDS, FaceTransformer, crowding, rotated
from models.networks.patchgan import PatchGAN
from models.pixels import to_range, to_unit
from models.recipes.decay import constant_then_linear
from models.recipes.face_examples import FaceConfig, face_example
from models.recipes.recipe import Batch, Preview, Product, Recipe, Road, Supplies

SIGNED = (-1.0, 1.0)
ROUNDING = 1 / 255
"""How far a value moves when a picture is stored in 8 bits, half a step of 2/255."""


@dataclass(frozen=True, kw_only=True)
class PasscodeConfig(FaceConfig):
    """Settings of the passcode recipe."""

    ndf: int = 64
    """Features of the discriminator's first layer."""
    patch_layers: int = 4
    """Layers of the discriminator; 4 judge patches of 142 px, 3 of 70 px."""
    adversarial: Adversarial = "vanilla"
    """Name of the adversarial loss."""
    lambda_restored: float = 100.0
    """Weight of |x - x''|, x'' the face restored with the right code (the reference's 100)."""
    lambda_painted: float = 50.0
    """Weight of |x - x'|, x' the face painted from its own latent code."""
    lambda_latent: float = 20.0
    """Weight of how far the latent code read from the new face is from the one that it was painted from."""
    lambda_spread: float = 1.0
    """Weight of how crowded the latent codes of different faces are."""
    noise: float = 0.1
    """Share of noise in latent codes, so that faces painted from codes that are a little off are a little off."""
    constant_share: float = 0.6
    """Share of the steps at the full learning rate; then it falls linearly to 0."""


class Passcode(Recipe):
    """y = T(x, c) fools D; T(y, inverse of c) = x; T(y, inverse of another c) fools D, too."""

    images_per_example = 1
    faces = "each"

    def __init__(self, config: PasscodeConfig, supplies: Supplies) -> None:
        self.config = config
        self.adversarial = ADVERSARIAL[config.adversarial]
        arguments = config.arguments()
        T = FaceTransformer(**arguments)
        D = PatchGAN(in_channels=4, ndf=config.ndf, layers=config.patch_layers, norm="none")
        self.networks: dict[str, nn.Module] = {"T": T, "D": D}
        betas = {"T": (0.5, 0.99), "D": (0.5, 0.99)}
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=betas[name], fused=True)
            for name, net in self.networks.items()
        }
        descriptor = Descriptor(
            task="deidentify",
            size_multiple=config.size_px,
            min_size_px=config.size_px,
            value_range=SIGNED,
            conditions=("hole", "code"),
        )
        self.product = Product(part="T", network="face_transformer", arguments=arguments, descriptor=descriptor)

    def example(
        self, images: tuple[np.ndarray, ...], rng: np.random.Generator, *, varied: bool = True
    ) -> dict[str, Tensor]:
        """See `face_example`."""
        image, face = images
        return face_example(image, face[0], rng, self.config, varied=varied)

    def step(self, batch: Batch, road: Road) -> dict[str, Tensor]:
        T, D, gan, c = self.networks["T"], self.networks["D"], self.adversarial, self.config
        x, hole = to_range(batch["face"], *SIGNED), to_range(batch["hole"], 0, 1)
        code, wrong = (random_signs(len(x), c.latent, x.device) for _ in range(2))
        (painted, y), z = T(x, hole, None, code, noise=c.noise)
        as_stored = (y.float() + torch.empty_like(x).uniform_(-1, 1) * ROUNDING).clamp(*SIGNED)
        (restored, other), read = T(as_stored, hole, code, wrong, back=True)

        fakes = torch.cat([y, other]).float()
        real_verdicts = D(torch.cat([x, hole], 1)).float()
        fake_verdicts = D(torch.cat([fakes.detach(), hole.repeat(2, 1, 1, 1)], 1)).float()
        d_real, d_fake = gan.real(real_verdicts), gan.fake(fake_verdicts)
        road.update("D", d_real + d_fake)

        with road.frozen("D") as judge:
            g_adversarial = gan.fooling(judge(torch.cat([fakes, hole.repeat(2, 1, 1, 1)], 1)).float())
        t_painted, t_restored = ((made.float() - x).abs().sum() / (3 * hole.sum()) for made in (painted, restored))
        t_spread = crowding(z)
        t_latent = 1 - F.cosine_similarity(read, rotated(z, code)).mean()
        faithful = c.lambda_painted * t_painted + c.lambda_restored * t_restored
        road.update("T", g_adversarial + faithful + c.lambda_latent * t_latent + c.lambda_spread * t_spread)
        return {
            "D real": d_real,
            "D fake": d_fake,
            "T adversarial": g_adversarial,
            "T painted L1": t_painted,
            "T restored L1": t_restored,
            "T latent": t_latent,
            "T spread": t_spread,
            **gan.balance(real_verdicts, fake_verdicts),
        }

    def lr_factor(self, step: int) -> float:
        return constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """A face; what its code makes of it; what the code's inverse makes of that."""
        x, hole = to_range(batch["face"], *SIGNED), to_range(batch["hole"], 0, 1)
        signs = random_signs(len(x), self.config.latent, x.device, torch.Generator().manual_seed(0))
        (y,), _ = generator(x, hole, signs)
        (restored,), _ = generator(y, hole, signs, back=True)
        return Preview(to_range(batch["face"], 0, 1), to_unit(y, *SIGNED), to_unit(restored, *SIGNED))


def random_signs(count: int, latent: int, device: torch.device, random: torch.Generator | None = None) -> Tensor:
    """[count, ROUNDS, latent] of -1 and 1, as codes are made into."""
    return (torch.randint(2, (count, ROUNDS, latent), generator=random) * 2.0 - 1).to(device)


BASE = PasscodeConfig(steps=200_000, batch_size=32, learning_rate=1e-4, size_px=128, ema_decay=0.999)
"""Photographs of faces at 128 px, on a GPU; learning rate and weights from the reference."""

SMALL = dataclasses.replace(
    BASE, steps=1_500, batch_size=16, learning_rate=1e-3, size_px=64, width=24, latent=64, ndf=16, patch_layers=3,
    ema_decay=0.99,
)  # fmt: skip
"""Drawn faces (`recast sample faces`) in minutes on two CPU cores."""

TINY = dataclasses.replace(SMALL, steps=6, batch_size=2, size_px=16, width=4, latent=8, ndf=4, patch_layers=1)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"base": BASE, "small": SMALL, "tiny": TINY}
