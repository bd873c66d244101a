"""A face to another one and back, as a code of signs says: the network of the passcode recipe."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.faces import LANDMARKS
from recast.models.networks.face_generator import FOLD, FaceGenerator, on_sphere

ROUNDS = 3
"""How often signs and sums take turns: after three rounds, every number depends on every other and on every sign."""
READ_PX, HIDDEN_PX = 8, 4
"""Sides of the squares that a face is read by, and of those that numbers are hidden in."""
LEFT_ALONE = 8
"""How many of a hiding square's components, from the lowest frequency on, are the new face's own."""
ACROSS, DOWN = 8, 10
"""Hiding squares of a face at 64 px: where every face is, however narrow."""
BRIGHTEST = 0.9
"""The contrast that a new face keeps, so that what is hidden in it fits beside it."""
LEAST_VALIDITY = 0.0
"""Logit from which on numbers are taken for a face's, and not for what a wrong code makes of them."""
CHROMA = 1.6
"""By how many steps of frequency colour counts for finer than brightness."""


class FaceTransformer(nn.Module):
    """Reads a face into numbers, turns them by a code, hides them in a new face; and finds, turns back and restores.

    A face is *read* into its frequencies by squares of 8 px, scaled to be about equally large. The code's signs turn
    all of them about by an orthogonal map. The *generator*, which sees the surroundings and some of the turned numbers
    but not the face, paints a new face, whose finer components then make room for the turned numbers. There they are
    *found*, the inverse map turns them back, and the *restorer* paints the face that was. With another code they make
    no face; the *judge* sees that, and the generator paints another one. Generator, restorer and judge learn; reading,
    turning, hiding and finding are fixed.
    """

    analysis: Tensor
    synthesis: Tensor
    carrier: Tensor

    def __init__(
        self, *, size_px: int, width: int, channels: int, features: int, context: float = 1.35, margin: float = 0.3,
        payload_std: float = 0.025, loud: float | None = None,
    ) -> None:  # fmt: skip
        """`channels`: numbers for each square of 8 px; `features`: how many of them say what the new face is like.
        `context`, `margin`: how it is to be fed; see `models.faces`. `payload_std`: about the standard deviation of
        what is hidden, in [-1, 1]; `loud`: its former name, in bundles of before.
        """
        super().__init__()
        side = size_px // READ_PX
        self.size_px, self.context, self.margin = size_px, context, margin
        self.payload_std = payload_std if loud is None else loud
        self.features, self.shape, self.latent = features, (channels, side, side), channels * side**2
        if self.latent & (self.latent - 1) or side < 2:
            raise ValueError(f"size_px is {size_px} and channels {channels}; they must be powers of 2, 16 at least")
        self.area = (max(1, DOWN * size_px // 64), max(1, ACROSS * size_px // 64))
        self.hidden = -(-self.latent // (self.area[0] * self.area[1]))
        if LEFT_ALONE + self.hidden > 3 * HIDDEN_PX**2:
            raise ValueError(f"channels is {channels}; there is no room to hide so many numbers")
        basis, typical = cosines(READ_PX, 0, channels)
        carrier, _ = cosines(HIDDEN_PX, LEFT_ALONE, self.hidden)
        self.register_buffer("analysis", basis / typical.view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("synthesis", basis * typical.view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("carrier", carrier, persistent=False)
        self.generator = FaceGenerator(size_px=size_px, width=width, latent=features, context=context, margin=margin)
        self.restorer = _Painting(4 + 3, width, channels)
        self.judge = nn.Sequential(
            *_halved((3 + 1) * FOLD**2, width), *_halved(width, 2 * width),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 1),
        )  # fmt: skip

    def forward(
        self,
        images: Tensor,
        mask: Tensor,
        signs: Tensor | None = None,
        back: bool = False,
        *,
        latent: Tensor | None = None,
        numbers: Tensor | None = None,
    ) -> Any:
        """The face that a code leads to, or with `back` leads back to: [N, 3, S, S].

        For training, its parts: with `latent` what `imagine` gives, with `numbers` what `restore` gives.

        Args:
            images: [N, 3, S, S] in [-1, 1].
            mask: [N, 1, S, S], 1 where the face is.
            signs: the code's, [N, ROUNDS, latent].
        """
        if latent is not None:
            return self.imagine(images, mask, latent)
        if numbers is not None:
            return self.restore(images, mask, numbers)
        assert signs is not None
        if not back:
            turned = rotated(self.read(images, mask), signs)
            return self.hide(self.imagine(images, mask, self.point(turned)), mask, turned)
        found = rotated(self.find(images), signs, back=True)
        face, validity = self.restore(images, mask, found)
        other = self.imagine(images, mask, self.point(found))
        return torch.where(validity.view(-1, 1, 1, 1) >= LEAST_VALIDITY, face, other)

    def read(self, images: Tensor, mask: Tensor) -> Tensor:
        """Faces as numbers [N, latent]."""
        return F.conv2d(images * mask, self.analysis, stride=READ_PX).flatten(1)

    def point(self, numbers: Tensor) -> Tensor:
        """The latent code of a new face that some of the numbers give, [N, features]."""
        return on_sphere(numbers[:, : self.features])

    def imagine(self, images: Tensor, mask: Tensor, latent: Tensor) -> Tensor:
        """A latent code's face, painted into surroundings; the images' own face is not looked at."""
        return self.generator(images, mask, images.new_full((len(images), 2 * LANDMARKS), 0.5), latent)

    def hide(self, images: Tensor, mask: Tensor, turned: Tensor) -> Tensor:
        """The same images, with turned numbers in the finer components of their faces."""
        spare = self.hidden * self.area[0] * self.area[1] - self.latent
        return images * (1 - mask) + self._hidden(BRIGHTEST * images, F.pad(turned, (0, spare))).clamp(-1, 1) * mask

    def restore(self, images: Tensor, mask: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Images with the faces that numbers [N, latent] are of, and logits of whether the numbers are a face's."""
        outside, laid = images * (1 - mask), numbers.view(-1, *self.shape)
        rough = F.conv_transpose2d(laid, self.synthesis, stride=READ_PX) * mask
        face = rough + self.restorer(torch.cat([outside, mask, rough], 1), laid)
        validity = self.judge(F.pixel_unshuffle(torch.cat([rough, mask], 1), FOLD))[:, 0]
        return outside + face.clamp(-1, 1) * mask, validity.float()

    def _hidden(self, face: Tensor, numbers: Tensor) -> Tensor:
        """The face with these numbers as its finer components, wherever numbers are hidden."""
        own = F.conv2d(face, self.carrier, stride=HIDDEN_PX)
        wanted = self._spread(numbers.view(-1, self.hidden, *self.area) * self.payload_std * HIDDEN_PX)
        there = self._spread(torch.ones_like(wanted[:1, :1, : self.area[0], : self.area[1]]))
        return face + F.conv_transpose2d((wanted - own) * there, self.carrier, stride=HIDDEN_PX)

    def _spread(self, x: Tensor) -> Tensor:
        """[N, C, *area] in the middle of zeros, a number for each hiding square of the image."""
        squares = self.size_px // HIDDEN_PX
        rows, columns = (squares - self.area[0]) // 2, (squares - self.area[1]) // 2
        return F.pad(x, (columns, squares - self.area[1] - columns, rows, squares - self.area[0] - rows))

    def find(self, images: Tensor) -> Tensor:
        """What is hidden in images, [N, latent]."""
        found = F.conv2d(images, self.carrier, stride=HIDDEN_PX) / (self.payload_std * HIDDEN_PX)
        rows, columns = ((found.shape[2 + n] - self.area[n]) // 2 for n in (0, 1))
        middle = found[:, :, rows : rows + self.area[0], columns : columns + self.area[1]]
        return middle.flatten(1)[:, : self.latent]


class _Painting(nn.Module):
    """[N, C, S, S] and numbers [N, channels, S / 8, S / 8] -> [N, 3, S, S]: a U-Net; zeros before it has learned."""

    def __init__(self, before: int, width: int, channels: int) -> None:
        super().__init__()
        w = width
        self.first = nn.Sequential(nn.Conv2d(before * FOLD**2, w, 3, padding=1), nn.LeakyReLU(0.2))
        self.down = nn.ModuleList(_halved(a, b) for a, b in ((w, 2 * w), (2 * w, 4 * w), (4 * w, 4 * w)))
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(0.2),
                nn.Conv2d(after, after, 3, padding=1), nn.LeakyReLU(0.2),
            )
            for before, after in ((8 * w + channels, 4 * w), (6 * w, 2 * w), (3 * w, w))
        )  # fmt: skip
        self.last = nn.Conv2d(w, 3 * FOLD**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, x: Tensor, numbers: Tensor) -> Tensor:
        x = self.first(F.pixel_unshuffle(x, FOLD))
        skips = []
        for layer in self.down:
            skips.append(x)
            x = layer(x)
        for n, (up, skip) in enumerate(zip(self.up, reversed(skips), strict=True)):
            larger = [F.interpolate(x, scale_factor=2.0, mode="nearest"), skip]
            x = up(torch.cat(larger if n else [*larger, numbers], 1))
        return F.pixel_shuffle(self.last(x), FOLD)


def _halved(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2))


def cosines(side: int, first: int, count: int) -> tuple[Tensor, Tensor]:
    """Components of squares of RGB pixels, [count, 3, side, side], orthonormal, from the lowest frequency on but for
    the `first`; and how large each typically is in photographs, whose spectra fall with frequency.

    Cosines of brightness and of two colour differences (Ahmed et al. 1974; the order is that of JPEG's zigzag).
    """
    colours = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], float)
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    place = (2 * np.arange(side) + 1) * math.pi / (2 * side)
    waves = np.cos(np.arange(side)[:, None] * place)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    every = [
        (math.hypot(u, v) + (CHROMA + 0.2 * (c == 2) if c else 0), c, u, v)
        for c in range(3)
        for u in range(side)
        for v in range(side)
    ]
    chosen: Sequence[tuple[float, int, int, int]] = sorted(every)[first : first + count]
    waved = [np.einsum("c,y,x->cyx", colours[c], waves[v], waves[u]) for _, c, u, v in chosen]
    typical = [side / (1 + frequency) ** 1.2 / 2 for frequency, *_ in chosen]
    return torch.tensor(np.stack(waved), dtype=torch.float32), torch.tensor(typical)


def rotated(latent: Tensor, signs: Tensor, *, back: bool = False) -> Tensor:
    """[N, latent], [N, ROUNDS, latent] -> [N, latent]: rounds of a change of signs and a Hadamard transform.

    An orthogonal map that the signs choose (Yu et al. 2016, "Orthogonal random features", section 4: three rounds mix
    as well as a random rotation); `back` is its inverse.
    """
    order: Sequence[int] = range(signs.shape[1])
    for n in reversed(order) if back else order:
        latent = hadamard(latent) * signs[:, n] if back else hadamard(latent * signs[:, n])
    return latent


def hadamard(x: Tensor) -> Tensor:
    """[N, 2^k] -> its orthonormal Walsh-Hadamard transform, which is its own inverse."""
    size = x.shape[1]
    half = 1
    while half < size:
        pairs = x.view(len(x), -1, 2, half)
        x = torch.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], 2).reshape(len(x), size)
        half *= 2
    return x / math.sqrt(size)
