"""A small network that tells people apart: faces of one person come to lie close together."""

import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4


class FaceEmbedder(nn.Module):
    """Squares around faces [N, 3, S, S] in [-1, 1] -> embeddings [N, features] of length 1.

    Convolutions with batch norm, PReLU and a fully connected layer, as SphereFace has them (Liu et al. 2017,
    arXiv:1704.08063, table 2), shallower. `context`: the square's side in longer sides of the face's box.
    """

    def __init__(self, *, size_px: int, width: int, features: int, context: float = 1.2) -> None:
        super().__init__()
        self.size_px, self.features, self.context = size_px, features, context
        layers: list[nn.Module] = []
        before = 3
        for level in range(LEVELS):
            after = width * min(2**level, 8)
            for stride, channels in ((2, before), (1, after)):
                layers += [
                    nn.Conv2d(channels, after, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.PReLU(after),
                ]
            before = after
        self.layers = nn.Sequential(*layers)
        self.embed = nn.Linear(before * (size_px >> LEVELS) ** 2, features)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.embed(self.layers(images).flatten(1)).float(), dim=1)
