"""What the networks of pix2pix and CycleGAN have in common: halving, doubling, normalisation, N(0, 0.02) weights."""

import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("batch", "instance", "none")
INIT_STD = 0.02
"""Isola et al. 2017, section 3.3; Zhu et al. 2017 take it over."""


FEW_PIXELS = 64
"""Up to so many output (or, doubling, input) pixels of a batch, a CPU's convolution spends most of its time on bringing
megabytes of weights into an order of its own, in each pass; a matrix product takes them as they lie."""


class Halving(nn.Conv2d):
    """[N, C, H, W] -> [N, C', H/2, W/2]: a convolution of 4 x 4 with stride 2."""

    def __init__(self, before: int, after: int, *, bias: bool = True) -> None:
        super().__init__(before, after, 4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        if not (self.training and x.device.type == "cpu" and count * height * width // 4 <= FEW_PIXELS):
            return super().forward(x)
        patches = F.unfold(x, 4, stride=2, padding=1).transpose(0, 1).reshape(channels * 16, -1)
        made = (self.weight.flatten(1) @ patches).view(-1, count, height // 2, width // 2).transpose(0, 1)
        return made if self.bias is None else made + self.bias.view(-1, 1, 1)


class Doubling(nn.ConvTranspose2d):
    """[N, C, H, W] -> [N, C', 2H, 2W]: a transposed convolution of 4 x 4 with stride 2."""

    def __init__(self, before: int, after: int, *, bias: bool = True) -> None:
        super().__init__(before, after, 4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        count, channels, height, width = x.shape
        if not (self.training and x.device.type == "cpu" and count * height * width <= FEW_PIXELS):
            return super().forward(x, output_size)
        pixels = x.flatten(2).transpose(1, 2).reshape(-1, channels)
        patches = (pixels @ self.weight.flatten(1)).view(count, height * width, -1).transpose(1, 2)
        made = F.fold(patches, (2 * height, 2 * width), 4, stride=2, padding=1)
        return made if self.bias is None else made + self.bias.view(-1, 1, 1)


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
