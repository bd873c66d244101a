"""A history of generated images, so that a discriminator doesn't forget what generators used to do."""

import torch
from torch import Tensor


class ImagePool:
    """Shrivastava et al. 2017 (arXiv:1612.07828), section 2.3, as CycleGAN has it (Zhu et al. 2017, section 4).

    Random by torch's own generator, which the training road seeds for each step.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> the same number: each image itself, or half of the time one that was kept, in its place."""
        if not self.size:
            return images
        return torch.stack([self._exchanged(image.detach()) for image in images])

    def _exchanged(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image)
            return image
        if torch.rand(()) < 0.5:
            return image
        place = int(torch.randint(self.size, ()))
        kept, self.images[place] = self.images[place], image
        return kept
