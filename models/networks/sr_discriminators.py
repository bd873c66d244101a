"""Judges of upscaled images: SRGAN's of a patch as a whole, Real-ESRGAN's of each of its pixels."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (1, 1, 2, 2, 4, 4, 8, 8)
"""Channels of SRGAN's convolutions, in units of the first; every second halves the image."""
DENSE = 16
"""Units of its fully connected layer, in the same units."""


class SRGANDiscriminator(nn.Module):
    """[N, 3, size_px, size_px] in [-1, 1] -> logits [N, 1].

    Ledig et al. 2017 (arXiv:1609.04802), figure 4 and section 2.1.1; the last sigmoid belongs to the loss.
    """

    def __init__(self, *, size_px: int = 96, ndf: int = 64, norm: bool = True) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.Conv2d(3, ndf, 3, padding=1), nn.LeakyReLU(0.2)]
        for number, (before, after) in enumerate(pairwise(ndf * width for width in WIDTHS), 1):
            stages.append(nn.Conv2d(before, after, 3, stride=1 + number % 2, padding=1))
            stages += [nn.BatchNorm2d(after)] if norm else []
            stages.append(nn.LeakyReLU(0.2))
        self.features = nn.Sequential(*stages)
        side = -(-size_px // 16)
        self.judge = nn.Sequential(
            nn.Linear(ndf * WIDTHS[-1] * side**2, ndf * DENSE), nn.LeakyReLU(0.2), nn.Linear(ndf * DENSE, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.judge(self.features(x).flatten(1))


class UNetDiscriminator(nn.Module):
    """[N, 3, H, W], H and W multiples of 8 -> logits [N, 1, H, W].

    Wang et al. 2021 (Real-ESRGAN, arXiv:2107.10833), section 3.3: a U-Net whose
    convolutions, but for the first and the last, have their spectral norm held to 1 (Miyato et al. 2018).
    """

    def __init__(self, *, ndf: int = 64) -> None:
        super().__init__()
        widths = [ndf, 2 * ndf, 4 * ndf, 8 * ndf]
        self.conv0 = nn.Conv2d(3, ndf, 3, padding=1)
        for number, (before, after) in enumerate(pairwise(widths), 1):
            self.add_module(f"conv{number}", spectral_norm(nn.Conv2d(before, after, 4, 2, 1, bias=False)))
        for number, (before, after) in enumerate(pairwise(reversed(widths)), 4):
            self.add_module(f"conv{number}", spectral_norm(nn.Conv2d(before, after, 3, padding=1, bias=False)))
        self.conv7 = spectral_norm(nn.Conv2d(ndf, ndf, 3, padding=1, bias=False))
        self.conv8 = spectral_norm(nn.Conv2d(ndf, ndf, 3, padding=1, bias=False))
        self.conv9 = nn.Conv2d(ndf, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        levels = [self._active("conv0", x)]
        for name in ("conv1", "conv2", "conv3"):
            levels.append(self._active(name, levels[-1]))
        y = levels.pop()
        for name in ("conv4", "conv5", "conv6"):
            enlarged = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
            y = self._active(name, enlarged) + levels.pop()
        return self.conv9(self._active("conv8", self._active("conv7", y)))

    def _active(self, name: str, x: Tensor) -> Tensor:
        return F.leaky_relu(self.get_submodule(name)(x), 0.2)
