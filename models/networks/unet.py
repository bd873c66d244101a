"""The U-Net generator of pix2pix, with the reference implementation's parameter names."""

import torch
from torch import Tensor, nn

from recast.models.draws import Dropout
from recast.models.networks.layers import Doubling, Halving, initialised, normalisation

WIDEST = 8
"""Features stop doubling at 8 * ngf (Isola et al. 2017, section 6.1.1)."""
FIRST_DROPOUT_DEPTH = 4
"""Levels from this depth on, but the innermost, drop out: three of them at 256 px; likewise."""


class Level(nn.Module):
    """[N, C, H, W] -> [N, 2C, H, W]: x beside what was seen of it at half the size (the outermost gives that alone)."""

    def __init__(self, layers: list[nn.Module], *, outermost: bool = False) -> None:
        super().__init__()
        self.outermost = outermost
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.model(x)
        return seen if self.outermost else torch.cat([x, seen], 1)


class UNet(nn.Module):
    """[N, in_channels, H, W] in [-1, 1] -> [N, out_channels, H, W] in [-1, 1]; H and W are multiples of 2^num_downs.

    Isola et al. 2017 (arXiv:1611.07004), section 6.1.1: num_downs 8 for 256 px, 7 for 128 px; ngf 64.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        num_downs: int = 8,
        ngf: int = 64,
        norm: str = "batch",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if num_downs < 2:
            raise ValueError(f"num_downs is {num_downs}; a U-Net has at least 2")
        widths = [ngf * min(2**level, WIDEST) for level in range(num_downs)]
        level = _innermost(widths[-2], widths[-1], norm)
        for depth in range(num_downs - 2, 0, -1):
            drops = dropout if depth >= FIRST_DROPOUT_DEPTH else 0.0
            level = _middle(widths[depth - 1], widths[depth], level, norm, drops)
        down = Halving(in_channels, ngf, bias=norm == "instance")
        up = Doubling(2 * ngf, out_channels)
        self.model = Level([down, level, nn.ReLU(), up, nn.Tanh()], outermost=True)
        initialised(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def _innermost(outer: int, inner: int, norm: str) -> Level:
    down = Halving(outer, inner, bias=norm == "instance")
    up = Doubling(inner, outer, bias=norm == "instance")
    return Level([nn.LeakyReLU(0.2), down, nn.ReLU(), up, normalisation(norm, outer)])


def _middle(outer: int, inner: int, submodule: Level, norm: str, dropout: float) -> Level:
    down = Halving(outer, inner, bias=norm == "instance")
    up = Doubling(2 * inner, outer, bias=norm == "instance")
    layers = [nn.LeakyReLU(0.2), down, normalisation(norm, inner), submodule]
    layers += [nn.ReLU(), up, normalisation(norm, outer)]
    return Level(layers + ([Dropout(dropout)] if dropout else []))
