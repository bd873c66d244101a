"""What the networks of pix2pix and CycleGAN have in common: normalisation by name and N(0, 0.02) weights."""

import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("batch", "instance", "none")
INIT_STD = 0.02
"""Isola et al. 2017, section 3.3; Zhu et al. 2017 take it over."""


class InstanceNorm(nn.InstanceNorm2d):
    """Ulyanov et al. 2016, without running statistics; with weights where it is `affine`.

    Computed as a group norm of one channel a group, which is the same, and on a CPU, with values in the order of pixels
    (channels last), many times as fast as torch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


def normalisation(name: str, channels: int) -> nn.Module:
    """A normalisation layer; the instance norm has neither weights nor running statistics, as in the reference.

    Raises:
        ValueError: a name that is not in NORMS.
    """
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "instance":
        return InstanceNorm(channels)
    if name == "none":
        return nn.Identity()
    raise ValueError(f"norm is {name!r}; it must be one of {', '.join(NORMS)}")


def initialised(network: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02) and batch norm's weights from N(1, 0.02), biases 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, INIT_STD)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, INIT_STD)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
