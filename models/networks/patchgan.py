"""The PatchGAN discriminator: a grid of logits, each about one patch of the image."""

from torch import Tensor, nn

from recast.models.networks.layers import initialised, normalisation

WIDEST = 8
"""Features stop doubling at 8 * ndf."""


class PatchGAN(nn.Module):
    """[N, in_channels, H, W] -> logits [N, 1, h, w].

    Isola et al. 2017 (arXiv:1611.07004), section 6.1.2, with the reference's parameter names (NLayerDiscriminator).
    Three layers see patches of 70 px; `layers=1` sees 16 px, `layers=5` 286 px.
    """

    def __init__(self, *, in_channels: int = 3, ndf: int = 64, layers: int = 3, norm: str = "batch") -> None:
        super().__init__()
        widths = [ndf * min(2**level, WIDEST) for level in range(layers + 1)]
        stages: list[nn.Module] = [nn.Conv2d(in_channels, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            before, after = widths[level - 1], widths[level]
            stages += [
                nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=norm == "instance"),
                normalisation(norm, after),
                nn.LeakyReLU(0.2),
            ]
        self.model = nn.Sequential(*stages, nn.Conv2d(widths[-1], 1, 4, padding=1))
        initialised(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PixelGAN(nn.Module):
    """[N, in_channels, H, W] -> logits [N, 1, H, W], each about one pixel by itself.

    Isola et al. 2017, section 6.1.2, with the reference's parameter names (PixelDiscriminator).
    """

    def __init__(self, *, in_channels: int = 3, ndf: int = 64, norm: str = "batch") -> None:
        super().__init__()
        bias = norm == "instance"
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, ndf, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(ndf, 2 * ndf, 1, bias=bias),
            normalisation(norm, 2 * ndf),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * ndf, 1, 1, bias=bias),
        )
        initialised(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def patch_discriminator(*, in_channels: int, ndf: int, layers: int, norm: str) -> PatchGAN | PixelGAN:
    """The one whose patches that many layers see: 16 px (1), 70 px (3), 286 px (5); 0: single pixels."""
    if layers:
        return PatchGAN(in_channels=in_channels, ndf=ndf, layers=layers, norm=norm)
    return PixelGAN(in_channels=in_channels, ndf=ndf, norm=norm)
