"""Learned perceptual similarity: how far two images are apart in a classifier's features.

Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric" (arXiv:1801.03924).
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from recast.models.networks.vgg import VGG

EPSILON = 1e-10
LINEAR = "lin{}.model.1.weight"
"""Names in the published files of learned weights."""


class LPIPS:
    """Images uint8 [N, 3, H, W] twice -> distances [N].

    With the published VGG16 and the published linear weights it is LPIPS v0.1; with a network of one's own, or without
    weights, every channel counts alike (the paper's unlearned baseline), and numbers compare among themselves alone.
    """

    def __init__(self, network: VGG, linear: Mapping[str, Tensor] | None = None) -> None:
        """Raises ValueError for linear weights that don't fit the network."""
        self._network = network
        self.layers = [name for name, following in pairwise(network.names) if following.startswith("pool")]
        self._weights: list[Tensor | None] = [None] * len(self.layers)
        if linear is not None:
            try:
                self._weights = [linear[LINEAR.format(n)] for n in range(len(self.layers))]
            except KeyError as missing:
                raise ValueError(f"these are no weights of LPIPS for this network: {missing} is missing") from None

    @torch.inference_mode()
    def features(self, images: Tensor) -> np.ndarray:
        """The network's last features, averaged over the image: [N, features]."""
        last = self.layers[-1]
        return self._network.taps(images.float() / 255, {last})[last].mean((2, 3)).numpy()

    @torch.inference_mode()
    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        ours, theirs = (self._network.taps(x.float() / 255, set(self.layers)) for x in (images, targets))
        total = torch.zeros(len(images))
        for name, weights in zip(self.layers, self._weights, strict=True):
            one, other = (taps[name] / (taps[name].norm(dim=1, keepdim=True) + EPSILON) for taps in (ours, theirs))
            apart = (one - other).square()
            by_place = apart.mean(1) if weights is None else (apart * weights.view(1, -1, 1, 1)).sum(1)
            total += by_place.mean((1, 2))
        return total
