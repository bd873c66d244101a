"""Super-resolution that looks real: a generator that also pleases a classifier's features and a discriminator.

Ledig et al. 2017, "Photo-realistic single image super-resolution using a generative adversarial network"
(arXiv:1609.04802); Wang et al. 2018 (ESRGAN, arXiv:1809.00219) and 2021 (Real-ESRGAN, arXiv:2107.10833) as presets.
Start from a network trained by regression: `recast train srresnet`, then `recast train srgan --start-from` its bundle.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from recast.models.losses.adversarial import ADVERSARIAL, Adversarial, check_norm
from recast.models.losses.perceptual import feature_distance, layers
from recast.models.losses.reconstruction import RECONSTRUCTION
from recast.models.networks.sr_discriminators import SRGANDiscriminator, UNetDiscriminator
from recast.models.networks.vgg import vgg_of
from recast.models.pixels import to_range
from recast.models.recipes.phases import Loss, Part, Phase
from recast.models.recipes.ranges import Decay, Features, Share, Weight
from recast.models.recipes.recipe import RecipeAssets
from recast.models.recipes.upscaling import Upscaling, UpscalingConfig, psnr_db


@dataclass(frozen=True, kw_only=True)
class SRGANConfig(UpscalingConfig):
    """Settings of the srgan recipe; the defaults are the paper's (sections 2.2 and 3.2) where it states them."""

    discriminator: Literal["srgan", "unet"] = "srgan"
    """Discriminator. srgan: one logit for a patch; unet: one for each of its pixels (Real-ESRGAN)."""
    d_norm: Literal["batch", "none"] = "batch"
    """Normalisation of the discriminator `srgan`."""
    ndf: Features = 64
    """Features of the discriminator's first layer."""
    adversarial: Adversarial = "vanilla"
    """Name of the adversarial loss."""
    perceptual_layers: str = "relu5_4"
    """Layers of the loss network that are compared, each perhaps with `:weight` (VGG19's last: section 2.2.1)."""
    distance: Literal["l1", "mse"] = "mse"
    """How pixels and features are compared."""
    pixel_weight: Weight = 0.0
    """Weight of the distance of pixels."""
    perceptual_weight: Weight = 0.00615
    """Weight of the distance of features: (1/12.75)^2, the paper's rescaling of VGG's features (section 3.2)."""
    adversarial_weight: Weight = 1e-3
    """Weight of the adversarial loss (equation 3)."""
    beta2: Decay = 0.999
    """beta2 of Adam; beta1 is 0.9 (section 3.2)."""
    drops: str = "0.5"
    """Shares of the steps after which the learning rate drops, as in 0.5,0.75."""
    drop: Share = 0.1
    """Share of itself that the learning rate drops to each time (section 3.2: 10^5 steps at 1e-4, 10^5 at 1e-5)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.adversarial, self.d_norm if self.discriminator == "srgan" else "none")
        try:
            _shares(self.drops)
        except ValueError:
            raise ValueError(f"drops is {self.drops!r}; it must be shares of the steps, as in 0.5,0.75") from None


class SRGAN(Upscaling):
    """min_G l_X(G(x), y) - 10^-3 log D(G(x)), with l_X a distance of VGG's features (equation 3)."""

    config: SRGANConfig
    needs = frozenset({"loss_network"})

    def __init__(self, config: SRGANConfig, assets: RecipeAssets) -> None:
        self.config = config
        self.adversarial = ADVERSARIAL[config.adversarial]
        G, self.exported = self.generator()
        self.networks = {"G": G, "D": self._discriminator()}
        betas = (0.9, config.beta2)
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=betas, fused=True)
            for name, net in self.networks.items()
        }
        assert assets.loss_network is not None
        self.loss_network = vgg_of(assets.loss_network)
        self.fixed = {"loss network": self.loss_network}
        self.layers = layers(config.perceptual_layers, self.loss_network)

    def _discriminator(self) -> nn.Module:
        c = self.config
        if c.discriminator == "unet":
            return UNetDiscriminator(ndf=c.ndf)
        return SRGANDiscriminator(size_px=c.patch_px * c.scale, ndf=c.ndf, norm=c.d_norm == "batch")

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="D", loss=self.d_loss), Phase(optimizer="G", loss=self.g_loss, fixed=("D",))]

    def d_loss(self, part: Part) -> Loss:
        D, gan = self.networks["D"], self.adversarial
        real = to_range(part.batch.get("unsharpened", part.batch["high"]), 0, 1)
        fake = self.upscaled(part).detach()
        real_logits, fake_logits = D(real).float(), D(fake).float()
        d_real, d_fake = gan.real(real_logits), gan.fake(fake_logits)
        loss = d_real + d_fake + gan.penalty(D, real, fake)
        return loss, {"D real": d_real, "D fake": d_fake, **gan.scores(real_logits, fake_logits)}

    def g_loss(self, part: Part) -> Loss:
        c, y, fake = self.config, to_range(part.batch["high"], 0, 1), self.upscaled(part)
        with torch.no_grad():
            wanted = self.loss_network.taps(y, self.layers)
        perceptual = feature_distance(self.loss_network.taps(fake, self.layers), wanted, self.layers, c.distance)
        pixel = RECONSTRUCTION[c.distance](fake, y)
        adversarial = self.adversarial.generator_loss(self.networks["D"](fake).float())
        loss = c.pixel_weight * pixel + c.perceptual_weight * perceptual + c.adversarial_weight * adversarial
        return loss, {
            "G pixel": pixel,
            "G perceptual": perceptual,
            "G adversarial": adversarial,
            "PSNR dB": psnr_db(fake, y),
        }

    def upscaled(self, part: Part) -> Tensor:
        """G(x)."""
        return part.once("G(x)", lambda: self.networks["G"](to_range(part.batch["low"], 0, 1)).float())

    def lr_factor(self, step: int) -> float:
        return self.config.drop ** sum(step >= share * self.config.steps for share in _shares(self.config.drops))


def _shares(text: str) -> list[float]:
    """Raises ValueError for what is no share."""
    shares = [float(share) for share in text.split(",") if share.strip()]
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(text)
    return shares


PAPER = SRGANConfig(
    scale=4, network="srresnet", patch_px=24, recolour=False, reduce_from=1.0, reduce_to=1.0, steps=200_000,
    batch_size=16, learning_rate=1e-4,
)  # fmt: skip
"""Section 3.2: 2 x 10^5 updates at 1e-4 and 1e-5, batches of 16 patches of 96 px, from SRResNet's weights. Set5 by the
paper: 29.40 dB (Y channel), and far better opinion scores than SRResNet's 32.05 dB."""

ESRGAN = SRGANConfig(
    scale=4, network="msrresnet", patch_px=32, recolour=False, reduce_from=1.0, reduce_to=1.0, steps=400_000,
    batch_size=16, learning_rate=1e-4, ema_decay=0.999, d_norm="batch", perceptual_layers="conv5_4", distance="l1",
    pixel_weight=1e-2, perceptual_weight=1.0, adversarial_weight=5e-3, beta2=0.99, drops="0.125,0.25,0.5,0.75",
    drop=0.5,
)  # fmt: skip
"""BasicSR's MSRGAN: features before their ReLU, L1. Set5 27.95, Set14 24.74, DIV2K 26.57 dB (RGB, x4), by mmagic's
record; `--set network=rrdb --set blocks=23` is ESRGAN's generator (28.27, 24.63, 26.65 dB)."""

REAL_ESRGAN = dataclasses.replace(
    ESRGAN, network="rrdb", blocks=23, patch_px=64, batch_size=48, degradation="real-esrgan", sharpen=True,
    discriminator="unet",
    perceptual_layers="conv1_2:0.1,conv2_2:0.1,conv3_4,conv4_4,conv5_4", pixel_weight=1.0, adversarial_weight=0.1,
    drops="",
)  # fmt: skip
"""Real-ESRGAN (section 4.1): from Real-ESRNet's averaged weights, spoilt photographs, targets of 256 px, which are
sharpened for the L1 and perceptual losses alone."""

SMALL = SRGANConfig(
    scale=4, network="edsr", blocks=10, patch_px=24, steps=4_000, batch_size=8, learning_rate=1e-4, ndf=32,
    perceptual_layers="relu3_2", distance="l1", pixel_weight=1.0, perceptual_weight=0.1, adversarial_weight=5e-3,
)  # fmt: skip
"""From the x4 upscaler that ships, with a loss network of the classifier recipe: for a CPU."""

TINY = SRGANConfig(
    steps=6, batch_size=2, learning_rate=1e-4, channels=8, blocks=2, patch_px=16, ndf=4, perceptual_layers="relu2_1",
    d_norm="none",
)  # fmt: skip
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"paper": PAPER, "esrgan": ESRGAN, "real-esrgan": REAL_ESRGAN, "small": SMALL, "tiny": TINY}
