"""Faces painted into their surroundings: a U-Net that a latent code tells whose face, and an encoder to learn with."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models import draws
from recast.models.faces import LANDMARKS

WIDEST = 8
BLUR = 1 / 24
"""Standard deviation of a landmark's spot, in shares of the image's side."""
SMALLEST_PX = 4
FOLD = 2
"""Squares of so many pixels a side are folded into channels before the first layer, and unfolded after the last: what
is fine in a face is painted four numbers at a time, at a quarter of the cost."""


class FaceGenerator(nn.Module):
    """Surroundings [N, 3, S, S] in [-1, 1], mask [N, 1, S, S], landmarks [N, 10], latent [N, latent] -> [N, 3, S, S].

    The mask is 1 where the face belongs; whatever the surroundings hold there is set to 0 before the first layer.
    Outside the mask the result is the surroundings. Landmarks are x and y of five points in shares of the side. A U-Net
    whose decoder is modulated by the latent code (adaptive instance norm, Karras et al. 2019, equation 1), as in
    DeepPrivacy2 (Hukkelås and Lindseth 2023), far smaller.
    """

    def __init__(self, *, size_px: int, width: int, latent: int, context: float = 1.6, margin: float = 0.3) -> None:
        """`context` and `margin`: how it is to be fed; see `recast.models.faces`."""
        super().__init__()
        self.size_px, self.latent, self.context, self.margin = size_px, latent, context, margin
        widths = _widths(size_px, width)
        self.first = nn.Conv2d((3 + 1 + LANDMARKS) * FOLD**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.mapping = nn.Sequential(
            nn.Linear(latent, 2 * latent), nn.LeakyReLU(0.2), nn.Linear(2 * latent, 2 * latent), nn.LeakyReLU(0.2)
        )
        self.bottom = nn.Linear(latent, widths[-1] * SMALLEST_PX**2)
        self.up = nn.ModuleList(
            _Up(before, skip, after, 2 * latent)
            for before, skip, after in zip(widths[:0:-1], widths[-2::-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(widths[0], 3 * FOLD**2, 3, padding=1)

    def forward(self, surroundings: Tensor, mask: Tensor, landmarks: Tensor, latent: Tensor) -> Tensor:
        outside = surroundings * (1 - mask)
        given = torch.cat([outside, mask, landmark_heatmaps(landmarks, self.size_px)], 1)
        x = F.leaky_relu(self.first(F.pixel_unshuffle(given, FOLD)), 0.2)
        skips = []
        for layer in self.down:
            skips.append(x)
            x = F.leaky_relu(layer(x), 0.2)
        style = self.mapping(latent)
        x = x + self.bottom(latent).view(len(x), -1, SMALLEST_PX, SMALLEST_PX)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip, style)
        return outside + torch.tanh(F.pixel_shuffle(self.last(x), FOLD)) * mask


def _widths(size_px: int, width: int) -> list[int]:
    """Features of each level, from the first, folded, to the smallest."""
    levels = round(math.log2(size_px / (FOLD * SMALLEST_PX)))
    if FOLD * SMALLEST_PX << levels != size_px:
        raise ValueError(f"size_px is {size_px}; it must be {FOLD * SMALLEST_PX} times a power of 2")
    return [min(width << level, width * WIDEST) for level in range(levels + 1)]


class _Up(nn.Module):
    """Twice the size, with what the encoder saw at that size, in the latent code's style."""

    def __init__(self, before: int, skip: int, after: int, style: int) -> None:
        super().__init__()
        self.join = nn.Conv2d(before + skip, after, 3, padding=1)
        self.refine = nn.Conv2d(after, after, 3, padding=1)
        self.styles = nn.Linear(style, 4 * after)
        nn.init.zeros_(self.styles.bias)

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        scale, shift, scale_after, shift_after = self.styles(style)[:, :, None, None].chunk(4, 1)
        x = self.join(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        x = F.leaky_relu(_normal(x) * (1 + scale) + shift, 0.2)
        return F.leaky_relu(_normal(self.refine(x)) * (1 + scale_after) + shift_after, 0.2)


def _normal(x: Tensor) -> Tensor:
    return F.group_norm(x, x.shape[1])


class FaceEncoder(nn.Module):
    """Images [N, 3, S, S] in [-1, 1], mask [N, 1, S, S] -> latent codes [N, latent] of length sqrt(latent)."""

    def __init__(self, *, size_px: int, width: int, latent: int) -> None:
        super().__init__()
        widths = _widths(size_px, width)
        layers: list[nn.Module] = [nn.Conv2d(4 * FOLD**2, widths[0], 3, padding=1), nn.LeakyReLU(0.2)]
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(after, after, 3, padding=1),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers)
        self.code = nn.Linear(widths[-1] * SMALLEST_PX**2, latent)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        return on_sphere(self.code(self.layers(F.pixel_unshuffle(torch.cat([images, mask], 1), FOLD)).flatten(1)))


def on_sphere(latent: Tensor) -> Tensor:
    """[N, latent] -> the same directions, of length sqrt(latent): as long as a normal draw is on average."""
    return F.normalize(latent.float(), dim=1) * math.sqrt(latent.shape[1])


def noisy(latent: Tensor, share: float) -> Tensor:
    """Latent codes [N, latent], each moved over the sphere at random."""
    return on_sphere(latent + share * draws.randn_like(latent)) if share else latent


def uniformity(latent: Tensor) -> Tensor:
    """How close the latent codes [N, latent] of a batch lie together: 0 where all lie in one place, less where not.

    Wang and Isola 2020 (arXiv:2005.10242), equation 2, t = 2: least where they are spread evenly over the sphere.
    """
    points = F.normalize(latent.float(), dim=1)
    if len(points) < 2:
        return points.sum() * 0.0  # a single code has no distances
    return torch.pdist(points).square().mul(-2).exp().mean().log()


def landmark_heatmaps(landmarks: Tensor, size_px: int) -> Tensor:
    """[N, 10] in shares of the side -> [N, 5, S, S]: a soft spot at each."""
    place = (torch.arange(size_px, device=landmarks.device) + 0.5) / size_px
    points = landmarks.view(-1, LANDMARKS, 2).float()
    across = (-((place - points[..., :1]) ** 2) / (2 * BLUR**2)).exp()
    down = (-((place - points[..., 1:]) ** 2) / (2 * BLUR**2)).exp()
    return down[..., :, None] * across[..., None, :]
