"""The residual generator of CycleGAN, with the reference implementation's parameter names."""

from torch import Tensor, nn

from recast.models.draws import Dropout
from recast.models.networks.layers import initialised, normalisation
from recast.models.networks.winograd import Conv3x3

DOWNS = 2
"""Times that height and width are halved (Zhu et al. 2017, appendix 7.2: d128, d256)."""


class ResnetBlock(nn.Module):
    """[N, C, H, W] -> the same shape: x + two reflect-padded 3x3 convolutions of it."""

    def __init__(self, channels: int, norm: str, dropout: float) -> None:
        super().__init__()
        bias = norm == "instance"
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            Conv3x3(channels, channels, bias=bias),
            normalisation(norm, channels),
            nn.ReLU(),
            *([Dropout(dropout)] if dropout else []),
            nn.ReflectionPad2d(1),
            Conv3x3(channels, channels, bias=bias),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """[N, in_channels, H, W] in [-1, 1] -> [N, out_channels, H, W] in [-1, 1]; H and W are multiples of 4.

    Zhu et al. 2017 (arXiv:1703.10593), appendix 7.2: 6 blocks for 128 px, 9 from 256 px on; after Johnson et al. 2016.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        blocks: int = 9,
        ngf: int = 64,
        norm: str = "instance",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(in_channels, ngf, 7, bias=bias)]
        layers += [normalisation(norm, ngf), nn.ReLU()]
        for level in range(DOWNS):
            width = ngf * 2**level
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias)]
            layers += [normalisation(norm, 2 * width), nn.ReLU()]
        layers += [ResnetBlock(ngf * 2**DOWNS, norm, dropout) for _ in range(blocks)]
        for level in reversed(range(DOWNS)):
            width = ngf * 2**level
            layers += [nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1, bias=bias)]
            layers += [normalisation(norm, width), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        initialised(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)
