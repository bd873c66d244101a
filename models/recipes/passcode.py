"""The face identity transformer: a face to another one by a code, and back to the first by the same code's inverse.

After Gu et al. 2020, "Password-conditioned anonymization and deanonymization with face identity transformers"
(arXiv:1911.11759): one network, a code in, its inverse back, and wrong codes that lead to wrong faces. There a code is
16 bits beside the pixels; here it is 128 that choose an orthogonal map of a face's numbers, whose inverse is the
inverse code. Its new faces are painted as those of the recipe `deidentify`.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models import draws
from recast.models.networks.face_transformer import ROUNDS, FaceTransformer, rotated
from recast.models.pixels import SIGNED, to_range, to_unit
from recast.models.recipes.deidentify import Deidentify, DeidentifyConfig, Faces
from recast.models.recipes.phases import Batch, Loss, Part, Road
from recast.models.recipes.ranges import Features, Share, Weight, Within
from recast.models.recipes.recipe import Preview

ROUNDING = 1 / 255
"""How far a value moves when a picture is stored in 8 bits, half a step of 2/255."""


@dataclass(frozen=True, kw_only=True)
class PasscodeConfig(DeidentifyConfig):
    """Settings of the passcode recipe, beside those of `deidentify`."""

    context: Annotated[float, Within(1, 8)] = 1.35
    """The networks' square, in longer sides of the face's box."""
    channels: Features = 32
    """Numbers that a face is made of, for each square of 8 x 8 px."""
    payload_std: Share = 0.025
    """About the standard deviation of what is hidden in a new face, of values in [-1, 1]; more than rounding does."""
    lambda_restored: Weight = 20.0
    """Weight of |x - x''|, x'' the face restored with the right code."""

    @property
    def numbers(self) -> int:
        """How many numbers a face is."""
        return self.channels * (self.size_px // 8) ** 2

    def arguments(self) -> dict[str, Any]:
        named = {
            name: getattr(self, name) for name in ("size_px", "width", "channels", "context", "margin", "payload_std")
        }
        return {**named, "features": self.latent}


class Passcode(Deidentify):
    """y = T(x, c) fools D; T(y, inverse of c) = x; T(y, inverse of another c) is yet another face."""

    painter_name = "T"
    network = "face_transformer"
    painter = FaceTransformer
    conditions = ("mask", "code")
    columns = ("Input", "Output", "Restored")
    config: PasscodeConfig

    def prepared(self, batch: Batch, road: Road) -> Batch:
        """With another face beside each, the one before it in the batch of all workers."""
        others = road.gathered(batch["face"], road.rows).roll(1, 0)
        return super().prepared(batch, road) | {"other": others[road.rows.places.to(others.device)]}

    def painted(self, batch: Batch) -> Faces:
        T, E = self.networks["T"], self.networks["E"]
        x, mask = to_range(batch["face"], *SIGNED), to_range(batch["mask"], 0, 1)
        landmarks = torch.full_like(batch["landmarks"], 0.5)  # where a face looks is among its numbers
        twice = [torch.cat([t, t]) for t in (x, mask)]
        return self.imagined(x, mask, landmarks, E(x, mask), lambda z: T(*twice, latent=z))

    def g_loss(self, part: Part) -> Loss:
        """What painting faces costs, and what restoring them does."""
        loss, scalars = super().g_loss(part)
        T, c, batch = self.networks["T"], self.config, part.batch
        x, mask = to_range(batch["face"], *SIGNED), to_range(batch["mask"], 0, 1)
        code, wrong = (random_signs(len(x), c.numbers, x.device) for _ in range(2))
        with torch.no_grad():
            found = _found(T, x, mask, batch, code)
        numbers = torch.cat([rotated(found, signs, back=True) for signs in (code, wrong)])
        made, validity = T(*(torch.cat([t, t]) for t in (x, mask)), numbers=numbers)
        t_restored = self.in_masks(made.float().chunk(2)[0] - x, part)
        right, astray = validity.chunk(2)
        t_judge = F.softplus(-right).mean() + F.softplus(astray).mean()
        loss = loss + c.lambda_restored * t_restored + t_judge
        return loss, {**scalars, "T restored L1": t_restored, "T judge": t_judge}

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """A face; what its code makes of it; what the code's inverse makes of that."""
        x, mask = to_range(batch["face"], *SIGNED), to_range(batch["mask"], 0, 1)
        signs = random_signs(len(x), self.config.numbers, x.device, torch.Generator().manual_seed(0))
        y = generator(x, mask, signs)
        restored = generator(y, mask, signs, back=True)
        return Preview(to_range(batch["face"], 0, 1), to_unit(y, *SIGNED), to_unit(restored, *SIGNED))


def _found(T: nn.Module, x: Tensor, mask: Tensor, batch: Batch, code: Tensor) -> Tensor:
    """The turned numbers of faces x, as they are found in new faces that were stored as pictures."""
    assert isinstance(T, FaceTransformer)
    turned = rotated(T.read(x, mask), code)
    other = to_range(batch["other"], *SIGNED)  # another's face serves as well as one that T would paint
    new = T.hide(other, mask, turned)
    return T.find(stored(torch.lerp(x, new, to_range(batch["fade"], 0, 1))))


def stored(images: Tensor) -> Tensor:
    """Images in [-1, 1] as they come back from a picture of 8 bits."""
    return (images + (2 * draws.rand_like(images) - 1) * ROUNDING).clamp(*SIGNED)


def random_signs(count: int, latent: int, device: torch.device, random: torch.Generator | None = None) -> Tensor:
    """[count, ROUNDS, latent] of -1 and 1, as codes are made into."""
    shape = (count, ROUNDS, latent)
    bits = draws.randint(2, *shape) if random is None else torch.randint(2, shape, generator=random)
    return (bits * 2.0 - 1).to(device)


BASE = PasscodeConfig(steps=100_000, batch_size=32, learning_rate=2e-4, size_px=128, ema_decay=0.999)
"""Photographs of faces at 128 px, on a GPU."""

TINY = dataclasses.replace(
    BASE, steps=1_500, batch_size=16, learning_rate=1e-3, size_px=64, width=24, latent=16, ndf=32, patch_layers=3,
    lambda_painted=10.0, lambda_spread=0.5, noise=0.3, ema_decay=0.99,
)  # fmt: skip
"""Drawn faces (`recast sample faces`) in minutes on two CPU cores."""

LEAST = dataclasses.replace(
    TINY, steps=6, batch_size=2, size_px=16, width=4, channels=8, latent=8, ndf=4, patch_layers=1
)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"base": BASE, "tiny": TINY, "least": LEAST}
