"""SRResNet as its paper has it: batch norm, PReLU, 9x9 ends, and a skip round the whole trunk."""

import math

from torch import Tensor, nn


class Block(nn.Module):
    """x + BN(conv(PReLU(BN(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.PReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SRResNet(nn.Module):
    """[N, 3, H, W] in [0, 1] -> [N, 3, scale*H, scale*W], about [0, 1].

    Ledig et al. 2017 (arXiv:1609.04802), figure 4. The paper's targets are in [-1, 1] (section 3.2); a last halving and
    shift makes the network give what it takes. Scales 2, 4 and 8.
    """

    any_threads = True
    """Each value is a sum in one order, whoever computes it: results are bit for bit the same with any number of
    threads."""

    def __init__(self, *, scale: int = 4, channels: int = 64, blocks: int = 16) -> None:
        super().__init__()
        doublings = int(math.log2(scale))
        if scale not in (2, 4, 8):
            raise ValueError(f"scale is {scale}; SRResNet has 2, 4 and 8")
        self.scale = scale
        self.halo_px = 4 + 2 * blocks + 1 + doublings + 4
        """The head, the trunk and its end, and at most what the enlargements and the last convolution reach."""
        self.head = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(*(Block(channels) for _ in range(blocks)))
        self.body_end = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))
        up: list[nn.Module] = []
        for _ in range(doublings):
            up += [nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        self.up = nn.Sequential(*up)
        self.tail = nn.Conv2d(channels, 3, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(x)
        features = features + self.body_end(self.body(features))
        return (self.tail(self.up(features)) + 1) / 2
