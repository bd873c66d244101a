"""Adversarial losses by name: what a discriminator's verdicts (logits, any shape) cost it and its generator."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor


class AdversarialLoss(ABC):
    """D minimises `real(D(x)) + fake(D(G(z)))`, G minimises `fooling(D(G(z)))`; each a mean over the verdicts."""

    @abstractmethod
    def real(self, verdicts: Tensor) -> Tensor:
        """What D pays on real images."""

    @abstractmethod
    def fake(self, verdicts: Tensor) -> Tensor:
        """What D pays on generated images."""

    @abstractmethod
    def fooling(self, verdicts: Tensor) -> Tensor:
        """What G pays on generated images."""

    @abstractmethod
    def probability(self, verdicts: Tensor) -> Tensor:
        """Mean verdict in [0, 1], 1 for real: D(x) and D(G(z)), near 1/2 where D can't tell."""


class Vanilla(AdversarialLoss):
    """Goodfellow et al. 2014 (arXiv:1406.2661), with G maximising log D(G(z)) (the non-saturating form, section 3)."""

    def real(self, verdicts: Tensor) -> Tensor:
        return F.softplus(-verdicts).mean()  # -log sigmoid(verdicts)

    def fake(self, verdicts: Tensor) -> Tensor:
        return F.softplus(verdicts).mean()  # -log(1 - sigmoid(verdicts))

    def fooling(self, verdicts: Tensor) -> Tensor:
        return F.softplus(-verdicts).mean()

    def probability(self, verdicts: Tensor) -> Tensor:
        return torch.sigmoid(verdicts).mean()


class LeastSquares(AdversarialLoss):
    """Mao et al. 2017 (LSGAN, arXiv:1611.04076), labels 0 and 1, without the factor 1/2."""

    def real(self, verdicts: Tensor) -> Tensor:
        return (verdicts - 1).square().mean()

    def fake(self, verdicts: Tensor) -> Tensor:
        return verdicts.square().mean()

    def fooling(self, verdicts: Tensor) -> Tensor:
        return (verdicts - 1).square().mean()

    def probability(self, verdicts: Tensor) -> Tensor:
        return verdicts.clamp(0, 1).mean()


class Hinge(AdversarialLoss):
    """Lim and Ye 2017 (arXiv:1705.02894): D stops at a margin of 1 to either side of 0."""

    def real(self, verdicts: Tensor) -> Tensor:
        return F.relu(1 - verdicts).mean()

    def fake(self, verdicts: Tensor) -> Tensor:
        return F.relu(1 + verdicts).mean()

    def fooling(self, verdicts: Tensor) -> Tensor:
        return -verdicts.mean()

    def probability(self, verdicts: Tensor) -> Tensor:
        return ((verdicts.clamp(-1, 1) + 1) / 2).mean()


ADVERSARIAL: dict[str, AdversarialLoss] = {"vanilla": Vanilla(), "lsgan": LeastSquares(), "hinge": Hinge()}
