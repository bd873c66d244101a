"""A history of generated images, so that a discriminator doesn't forget what generators used to do."""

import torch
from torch import Tensor

from recast.models import draws


class ImagePool:
    """Shrivastava et al. 2017 (arXiv:1612.07828), section 2.3, as CycleGAN has it (Zhu et al. 2017, section 4).

    Each worker has its own, of the images that it made itself.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> the same number: each image itself, or half of the time one that was kept, in its place."""
        if not self.size:
            return images
        swaps, places = draws.rand(len(images)) < 0.5, draws.randint(self.size, len(images))
        exchanges = zip(images.detach(), swaps.tolist(), places.tolist(), strict=True)
        return torch.stack([self._exchanged(image, swap, place) for image, swap, place in exchanges])

    def _exchanged(self, image: Tensor, swap: bool, place: int) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image)
            return image
        if not swap:
            return image
        kept, self.images[place] = self.images[place], image
        return kept
