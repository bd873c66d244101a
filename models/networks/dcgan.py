"""Images from noise, and their judge: DCGAN's networks, with a class label where there are classes."""

import math

import torch
from torch import Tensor, nn

from recast.models.networks.layers import initialised, normalisation

SMALLEST_PX = 4
"""Side of the first feature map."""


def _doublings(size_px: int) -> int:
    doublings = int(math.log2(max(size_px, 1) / SMALLEST_PX)) if size_px >= SMALLEST_PX else 0
    if doublings < 1 or SMALLEST_PX * 2**doublings != size_px:
        raise ValueError(f"size_px is {size_px}; it must be 8, 16, 32, 64, …")
    return doublings


class DCGANGenerator(nn.Module):
    """z [N, latent], and label int64 [N] where there are classes -> [N, 3, size_px, size_px] in [-1, 1].

    Radford et al. 2016 (arXiv:1511.06434), figure 1. The label is an input beside the noise (Mirza and Osindero 2014,
    arXiv:1411.1784, section 3.2), embedded in as many values.
    """

    def __init__(
        self, *, size_px: int = 64, latent: int = 100, ngf: int = 64, norm: str = "batch", classes: int = 0
    ) -> None:
        super().__init__()
        self.latent, self.classes = latent, classes
        levels = _doublings(size_px)
        widths = [ngf * 2**level for level in reversed(range(levels))]
        self.embedding = nn.Embedding(classes, latent) if classes else None
        stages: list[nn.Module] = []
        before, stride, padding = latent * (2 if classes else 1), 1, 0
        for width in widths:
            stages += [
                nn.ConvTranspose2d(before, width, 4, stride, padding, bias=norm == "none"),
                normalisation(norm, width),
                nn.ReLU(),
            ]
            before, stride, padding = width, 2, 1
        self.model = nn.Sequential(*stages, nn.ConvTranspose2d(before, 3, 4, 2, 1), nn.Tanh())
        initialised(self)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(label)], 1)
        return self.model(z[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """Image [N, 3, size_px, size_px] in [-1, 1], and label int64 [N] where there are classes -> logits [N].

    Strided convolutions in place of pooling, LeakyReLU 0.2, no normalisation of the first layer (Radford et al. 2016,
    section 3). The label is one more input channel, an embedding as large as the image.
    """

    def __init__(self, *, size_px: int = 64, ndf: int = 64, norm: str = "batch", classes: int = 0) -> None:
        super().__init__()
        self.size_px = size_px
        levels = _doublings(size_px)
        self.embedding = nn.Embedding(classes, size_px**2) if classes else None
        stages: list[nn.Module] = [nn.Conv2d(3 + bool(classes), ndf, 4, 2, 1), nn.LeakyReLU(0.2)]
        for level in range(1, levels):
            before, after = ndf * 2 ** (level - 1), ndf * 2**level
            stages += [
                nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none"),
                normalisation(norm, after),
                nn.LeakyReLU(0.2),
            ]
        self.model = nn.Sequential(*stages, nn.Conv2d(ndf * 2 ** (levels - 1), 1, SMALLEST_PX))
        initialised(self)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            plane = self.embedding(label).view(-1, 1, self.size_px, self.size_px)
            image = torch.cat([image, plane], 1)
        return self.model(image).flatten()
