"""Images of a class from noise: the label is an input of both networks.

Mirza and Osindero 2014, "Conditional generative adversarial nets" (arXiv:1411.1784), equation 2.
"""

import numpy as np
import torch
from torch import Tensor

from recast.models.recipes.gan import GAN, PRESETS, SHOWN, GANConfig
from recast.models.recipes.phases import Batch
from recast.models.recipes.recipe import RawExample, RecipeAssets

__all__ = ["CGAN", "PRESETS"]


class CGAN(GAN):
    """min_G max_D E log D(x | y) + E log(1 - D(G(z | y) | y)) (equation 2); the phases are the GAN's."""

    labelled = True

    def __init__(self, config: GANConfig, assets: RecipeAssets) -> None:
        super().__init__(config, assets)
        self.classes = len(assets.classes)

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x: the GAN's; label: int64 [], the class y."""
        return {**super().example(raw, rng, augment=augment), "label": torch.tensor(raw.label)}

    def conditions(self, batch: Batch) -> tuple[Tensor, ...]:
        """The classes y, int64 [N]."""
        return (batch["label"],)

    def _shown_conditions(self, batch: Batch) -> tuple[Tensor, ...]:
        """Each class in turn."""
        return (torch.arange(SHOWN, device=batch["x"].device) % self.classes,)
