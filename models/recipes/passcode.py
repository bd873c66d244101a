"""The face identity transformer: a face to another one by a code, and back to the first by the same code's inverse.

After Gu et al. 2020, "Password-conditioned anonymization and deanonymization with face identity transformers"
(arXiv:1911.11759): one network, a code in, its inverse back, and wrong codes that lead to wrong faces. There a code is
16 bits beside the pixels; here it is 128 that choose a rotation of a latent code, whose inverse is the inverse code.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.descriptor import Descriptor
from models.losses.adversarial import ADVERSARIAL, Adversarial
from models.networks.face_transformer import ROUNDS, FaceTransformer
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

    context: float = 1.35
    """The networks' square, in longer sides of the face's box."""
    channels: int = 32
    """Numbers that a face is made of, for each square of 8 x 8 px."""
    loud: float = 0.05
    """Standard deviation of what is hidden in a new face, of values in [-1, 1]: heard over rounding, hardly seen."""
    blind: float = 0.1
    """Standard deviation of the noise through which D looks, so that it judges faces and not what is hidden in them
    (instance noise, Sønderby et al. 2017, arXiv:1610.04490)."""
    ndf: int = 64
    """Features of the discriminator's first layer."""
    patch_layers: int = 4
    """Layers of the discriminator; 4 judge patches of 142 px, 3 of 70 px."""
    adversarial: Adversarial = "vanilla"
    """Name of the adversarial loss."""
    lambda_restored: float = 100.0
    """Weight of |x - x''|, x'' the face restored with the right code (the reference's 100)."""
    constant_share: float = 0.6
    """Share of the steps at the full learning rate; then it falls linearly to 0."""

    @property
    def numbers(self) -> int:
        """Of a face's latent code."""
        return self.channels * (self.size_px // 8) ** 2

    def arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("size_px", "width", "channels", "context", "margin", "loud")}


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
        rates = {"T": config.learning_rate, "D": config.learning_rate / 2}  # the reference: a slower D paints no blobs
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=rates[name], betas=(0.5, 0.99), fused=True)
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
        x, hole, fade = to_range(batch["face"], *SIGNED), to_range(batch["hole"], 0, 1), to_range(batch["fade"], 0, 1)
        code, wrong = (random_signs(len(x), c.numbers, x.device) for _ in range(2))
        (y,), _ = T(x, hole, code)
        kept = stored(torch.lerp(x, y.float(), fade))
        (restored, other), _ = T(kept, hole, code, wrong, back=True)

        fakes = torch.cat([y, other]).float()
        twice = hole.repeat(2, 1, 1, 1)
        real_verdicts = D(torch.cat([self._blurred(x), hole], 1)).float()
        fake_verdicts = D(torch.cat([self._blurred(fakes.detach()), twice], 1)).float()
        d_real, d_fake = gan.real(real_verdicts), gan.fake(fake_verdicts)
        road.update("D", d_real + d_fake)

        with road.frozen("D") as judge:
            t_adversarial = gan.fooling(judge(torch.cat([self._blurred(fakes), twice], 1)).float())
        t_restored = (restored.float() - x).abs().sum() / (3 * hole.sum())
        road.update("T", t_adversarial + c.lambda_restored * t_restored)
        return {
            "D real": d_real,
            "D fake": d_fake,
            "T adversarial": t_adversarial,
            "T restored L1": t_restored,
            **gan.balance(real_verdicts, fake_verdicts),
        }

    def _blurred(self, images: Tensor) -> Tensor:
        return images + self.config.blind * torch.randn_like(images)

    def lr_factor(self, step: int) -> float:
        return constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """A face; what its code makes of it; what the code's inverse makes of that."""
        x, hole = to_range(batch["face"], *SIGNED), to_range(batch["hole"], 0, 1)
        signs = random_signs(len(x), self.config.numbers, x.device, torch.Generator().manual_seed(0))
        (y,), _ = generator(x, hole, signs)
        (restored,), _ = generator(y, hole, signs, back=True)
        return Preview(to_range(batch["face"], 0, 1), to_unit(y, *SIGNED), to_unit(restored, *SIGNED))


def stored(images: Tensor) -> Tensor:
    """Images in [-1, 1] as they come back from a picture of 8 bits."""
    return (images + torch.empty_like(images).uniform_(-1, 1) * ROUNDING).clamp(*SIGNED)


def random_signs(count: int, latent: int, device: torch.device, random: torch.Generator | None = None) -> Tensor:
    """[count, ROUNDS, latent] of -1 and 1, as codes are made into."""
    return (torch.randint(2, (count, ROUNDS, latent), generator=random) * 2.0 - 1).to(device)


BASE = PasscodeConfig(steps=200_000, batch_size=32, learning_rate=1e-4, size_px=128, ema_decay=0.999)
"""Photographs of faces at 128 px, on a GPU; learning rate and weights from the reference."""

SMALL = dataclasses.replace(
    BASE, steps=3_000, batch_size=16, learning_rate=1e-3, size_px=64, width=24, ndf=16, patch_layers=3,
    ema_decay=0.99,
)  # fmt: skip
"""Drawn faces (`recast sample faces`) in minutes on two CPU cores."""

TINY = dataclasses.replace(SMALL, steps=6, batch_size=2, size_px=16, width=4, channels=8, ndf=4, patch_layers=1)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"base": BASE, "small": SMALL, "tiny": TINY}
