"""Super-resolution by regression: a residual network learns what bicubic enlargement misses.

Ledig et al. 2017 (SRResNet, arXiv:1609.04802), and by default without batch normalisation, as Lim et al. 2017 (EDSR,
arXiv:1707.02921) recommend. The presets for photographs reduce them before they serve as targets, which makes them
sharp at the level of pixels; inputs are reduced further by Pillow's bicubic filter.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from recast.models.losses.reconstruction import RECONSTRUCTION
from recast.models.pixels import to_range
from recast.models.recipes.phases import Loss, Part, Phase
from recast.models.recipes.ranges import CountOrNone
from recast.models.recipes.recipe import RecipeAssets
from recast.models.recipes.upscaling import Upscaling, UpscalingConfig, psnr_db


@dataclass(frozen=True, kw_only=True)
class SRResNetConfig(UpscalingConfig):
    """Settings of the srresnet recipe."""

    loss: Literal["l1", "mse"] = "l1"
    """Distance to the target (EDSR, section 3.3: L1 converges better)."""
    warmup: CountOrNone = 100
    """Steps over which the learning rate rises to its full value, before it falls along a cosine."""


class SRResNet(Upscaling):
    """low resolution x -> high resolution y: minimise |G(x) - y|."""

    config: SRResNetConfig

    def __init__(self, config: SRResNetConfig, assets: RecipeAssets) -> None:
        self.config = config
        G, self.exported = self.generator()
        self.networks = {"G": G}
        self.optimizers = {"G": torch.optim.Adam(G.parameters(), lr=config.learning_rate, fused=True)}

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="G", loss=self.g_loss)]

    def g_loss(self, part: Part) -> Loss:
        x, y = to_range(part.batch["low"], 0, 1), to_range(part.batch["high"], 0, 1)
        output = self.networks["G"](x).float()
        loss = RECONSTRUCTION[self.config.loss](output, y)
        return loss, {"G reconstruction": loss, "PSNR dB": psnr_db(output, y)}

    def lr_factor(self, step: int) -> float:
        rising = min(1.0, (step + 1) / max(1, self.config.warmup))
        return rising * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.config.steps)))


TINY = SRResNetConfig(steps=20, batch_size=4, learning_rate=1e-3, channels=8, blocks=2, patch_px=12, warmup=2)
"""For tests: seconds on a CPU, and better than bicubic by little."""

PHOTO_X2 = SRResNetConfig(
    steps=16_000, batch_size=16, learning_rate=1e-3, ema_decay=0.999, channels=64, blocks=10, patch_px=32, reduce_to=2.0
)
"""The x2 upscaler that ships: some 40 minutes of one core with AMX bf16, +2.51 dB over bicubic on two held-out
photographs. `recast sample photos photos`, `recast sample leaves photos/train --count 5 --size 2000`,
`recast train srresnet --preset photo-x2 --data photos/train --output runs/x2 --precision bf16`."""

PHOTO_X4 = dataclasses.replace(
    PHOTO_X2, scale=4, patch_px=24, steps=4_000, learning_rate=5e-4, loss="mse", reduce_to=4.0
)
"""The x4 upscaler that ships: some 10 minutes likewise, +1.47 dB. Twice as many steps did worse on held-out photographs
(+1.38 dB): squared error, more reductions and few steps keep it from learning thirteen images by heart."""

PAPER = SRResNetConfig(
    scale=4, network="srresnet", channels=64, blocks=16, patch_px=24, loss="mse", recolour=False, reduce_from=1.0,
    reduce_to=1.0, steps=1_000_000, batch_size=16, learning_rate=1e-4, warmup=0,
)  # fmt: skip
"""Ledig et al. 2017, section 3.2: the paper's network, batches of 16 patches of 96 px, x4, MSE, Adam at 1e-4 for 10^6
updates (here along a cosine). Set5 by the paper: 32.05 dB (Y channel)."""

MSRRESNET = SRResNetConfig(
    scale=4, network="msrresnet", channels=64, blocks=16, patch_px=32, recolour=False, reduce_from=1.0, reduce_to=1.0,
    steps=1_000_000, batch_size=16, learning_rate=2e-4, warmup=0, ema_decay=0.999,
)  # fmt: skip
"""BasicSR's training of MSRResNet: L1, targets of 128 px. Set5 30.25, Set14 26.78, DIV2K 29.00 dB (RGB, x4), by
BasicSR's own record."""

REAL_ESRNET = dataclasses.replace(
    MSRRESNET, network="rrdb", blocks=23, patch_px=64, degradation="real-esrgan", sharpen=True, batch_size=48
)
"""Real-ESRNet (Wang et al. 2021, section 4.1), which Real-ESRGAN starts from: RRDBNet on spoilt photographs, L1 to
sharpened ones."""

PRESETS = {
    "paper": PAPER,
    "photo-x2": PHOTO_X2,
    "photo-x4": PHOTO_X4,
    "msrresnet": MSRRESNET,
    "real-esrnet": REAL_ESRNET,
    "tiny": TINY,
}
