"""3 x 3 convolutions with four times fewer multiplications, for training on CPUs.

Lavin and Gray 2016, "Fast algorithms for convolutional neural networks" (arXiv:1509.09308), F(4x4, 3x3): output in
tiles of 4 x 4, each from 36 products in place of 144. Plain tensor operations, so that differentiation comes by itself.
Values agree with a direct convolution's to some 1e-5 of the largest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Matrix = Sequence[Sequence[float]]

TILE, SEEN = 4, 6
"""Pixels along a tile of the output, and of the input that it is made from."""
LEAST_CHANNELS = 128
"""With fewer, transforming costs more than the products save."""
INPUT: Matrix = [
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
]  # fmt: skip
WEIGHT: Matrix = [
    [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
]  # fmt: skip
OUTPUT: Matrix = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
"""The paper's B^T, G and A^T (section 4.3)."""


def _both_ways(matrix: Matrix) -> Tensor:
    """M -> the matrix that does M X M^T to a flattened X."""
    exact = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(exact, exact).float()


TO_INPUT, TO_WEIGHT, TO_OUTPUT = _both_ways(INPUT), _both_ways(WEIGHT), _both_ways(OUTPUT)


class Conv3x3(nn.Conv2d):
    """[N, C, H, W] -> [N, C', H-2, W-2]: a convolution of 3 x 3 without padding."""

    def __init__(self, before: int, after: int, *, bias: bool = True) -> None:
        super().__init__(before, after, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if not self._worth(x):
            return super().forward(x)
        made = winograd(x, self.weight)
        return made if self.bias is None else made + self.bias.view(-1, 1, 1)

    def _worth(self, x: Tensor) -> bool:
        """In training alone: what bundles give does not hang on how they are run."""
        return (
            self.training
            and x.device.type == "cpu"
            and x.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and min(self.weight.shape[:2]) >= LEAST_CHANNELS
            and x.shape[2] % TILE == x.shape[3] % TILE == SEEN - TILE
        )


def winograd(x: Tensor, weight: Tensor) -> Tensor:
    """F.conv2d(x, weight): weights [C', C, 3, 3] and x [N, C, H, W], float32, with H - 2 and W - 2 multiples of 4."""
    count, channels, height, width = x.shape
    down, across, features = (height - 2) // TILE, (width - 2) // TILE, weight.shape[0]
    tiles = x.unfold(2, SEEN, TILE).unfold(3, SEEN, TILE).permute(4, 5, 1, 0, 2, 3)
    seen = (TO_INPUT @ tiles.reshape(SEEN * SEEN, -1)).view(SEEN * SEEN, channels, -1)
    weights = (TO_WEIGHT @ weight.permute(2, 3, 0, 1).reshape(9, -1)).view(SEEN * SEEN, features, channels)
    products = torch.bmm(weights, seen).view(SEEN * SEEN, -1)
    made = (TO_OUTPUT @ products).view(TILE, TILE, features, count, down, across)
    return made.permute(3, 2, 4, 0, 5, 1).reshape(count, features, TILE * down, TILE * across)
