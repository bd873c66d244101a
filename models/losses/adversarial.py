"""Adversarial losses by name: what a discriminator's logits, of any shape, cost it and its generator."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from recast.models import draws


class AdversarialLoss(ABC):
    """D minimises `real(D(x)) + fake(D(G(z)))`, G minimises `generator_loss(D(G(z)))`; each a mean over the logits."""

    @abstractmethod
    def real(self, logits: Tensor) -> Tensor:
        """What D pays on real images."""

    @abstractmethod
    def fake(self, logits: Tensor) -> Tensor:
        """What D pays on generated images."""

    @abstractmethod
    def generator_loss(self, logits: Tensor) -> Tensor:
        """What G pays on generated images."""

    @abstractmethod
    def probability(self, logits: Tensor) -> Tensor:
        """Mean probability in [0, 1], 1 for real: D(x) and D(G(z)), near 1/2 where D can't tell."""

    def scores(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """How D scores real and generated images: scalars to log."""
        return {"D(x)": self.probability(real), "D(G(z))": self.probability(fake)}

    def penalty(self, D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """What D pays besides, for images [N, C, H, W] of either kind. None: 0."""
        return torch.zeros((), device=real.device)


class Vanilla(AdversarialLoss):
    """Goodfellow et al. 2014 (arXiv:1406.2661), with G maximising log D(G(z)) (the non-saturating form, section 3)."""

    def real(self, logits: Tensor) -> Tensor:
        return F.softplus(-logits).mean()  # -log sigmoid(logits)

    def fake(self, logits: Tensor) -> Tensor:
        return F.softplus(logits).mean()  # -log(1 - sigmoid(logits))

    def generator_loss(self, logits: Tensor) -> Tensor:
        return F.softplus(-logits).mean()

    def probability(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits).mean()


class Minimax(Vanilla):
    """Goodfellow et al. 2014, equation 1: G minimises log(1 - D(G(z))), which saturates where D is sure."""

    def generator_loss(self, logits: Tensor) -> Tensor:
        return -F.softplus(logits).mean()  # log(1 - sigmoid(logits))


class LeastSquares(AdversarialLoss):
    """Mao et al. 2017 (LSGAN, arXiv:1611.04076), labels 0 and 1, without the factor 1/2."""

    def real(self, logits: Tensor) -> Tensor:
        return (logits - 1).square().mean()

    def fake(self, logits: Tensor) -> Tensor:
        return logits.square().mean()

    def generator_loss(self, logits: Tensor) -> Tensor:
        return (logits - 1).square().mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits.clamp(0, 1).mean()


class Hinge(AdversarialLoss):
    """Lim and Ye 2017 (arXiv:1705.02894): D stops at a margin of 1 to either side of 0."""

    def real(self, logits: Tensor) -> Tensor:
        return F.relu(1 - logits).mean()

    def fake(self, logits: Tensor) -> Tensor:
        return F.relu(1 + logits).mean()

    def generator_loss(self, logits: Tensor) -> Tensor:
        return -logits.mean()

    def probability(self, logits: Tensor) -> Tensor:
        return ((logits.clamp(-1, 1) + 1) / 2).mean()


class Wasserstein(AdversarialLoss):
    """Gulrajani et al. 2017 (WGAN-GP, arXiv:1704.00028): D is a critic whose gradient is held to length 1.

    D must see each image by itself: no batch norm (section 4).
    """

    LAMBDA = 10.0
    """Weight of the penalty (section 4)."""

    def real(self, logits: Tensor) -> Tensor:
        return -logits.mean()

    def fake(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def generator_loss(self, logits: Tensor) -> Tensor:
        return -logits.mean()

    def probability(self, logits: Tensor) -> Tensor:
        """A critic's mean output as it is, without bounds."""
        return logits.mean()

    def scores(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """D(x) - D(G(z)), which estimates the Wasserstein distance (section 5.3)."""
        return {"D distance": real.mean() - fake.mean()}

    def penalty(self, D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """Equation 3, at points drawn evenly between pairs of real and generated images."""
        share = draws.rand(len(real), 1, 1, 1, device=real.device)
        between = torch.lerp(real, fake, share).detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(D(between).float().sum(), between, create_graph=True)
        return self.LAMBDA * (slope.flatten(1).norm(dim=1) - 1).square().mean()


Adversarial = Literal["vanilla", "minimax", "lsgan", "hinge", "wgan-gp"]
ADVERSARIAL: dict[Adversarial, AdversarialLoss] = {
    "vanilla": Vanilla(),
    "minimax": Minimax(),
    "lsgan": LeastSquares(),
    "hinge": Hinge(),
    "wgan-gp": Wasserstein(),
}


def check_norm(adversarial: Adversarial, norm: str) -> None:
    """Raises ValueError where D's norm would mix the images that a gradient penalty must tell apart."""
    if adversarial == "wgan-gp" and norm == "batch":
        raise ValueError("adversarial is wgan-gp, which judges each image by itself; norm must be instance or none")
