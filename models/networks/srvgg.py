"""SRVGGNetCompact, Real-ESRGAN's small generator, with its parameter names."""

import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = ("prelu", "relu", "leakyrelu")


class SRVGGNetCompact(nn.Module):
    """[N, in_channels, H, W] in [0, 1] -> [N, out_channels, scale*H, scale*W], about [0, 1].

    A plain row of convolutions at the input's resolution, one sub-pixel convolution, and the nearest enlargement added.
    """

    any_threads = True
    """Each value is a sum in one order, whoever computes it: results are bit for bit the same with any number of
    threads."""

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 64,
        convolutions: int = 16,
        scale: int = 4,
        activation: str = "prelu",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; it must be one of {', '.join(ACTIVATIONS)}")
        self.scale = scale
        self.halo_px = convolutions + 2
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1), _activation(activation, channels)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), _activation(activation, channels)]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, out_channels * scale**2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.body(x), self.scale)
        return detail + F.interpolate(x, scale_factor=self.scale, mode="nearest")


def _activation(name: str, channels: int) -> nn.Module:
    if name == "prelu":
        return nn.PReLU(channels)
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(0.1)
