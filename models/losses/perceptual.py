"""How far images are apart in the eyes of a classifier (Johnson et al. 2016, arXiv:1603.08155)."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from recast.models.losses.reconstruction import RECONSTRUCTION
from recast.models.networks.vgg import VGG

Layers = Mapping[str, float]
"""Weights by names of features."""


def layers(text: str, network: VGG) -> dict[str, float]:
    """`relu1_2,relu2_2:0.5` as weights by layer, 1 where none is given.

    Raises:
        ValueError: the network has no such layer, or a weight is no number.
    """
    found: dict[str, float] = {}
    for entry in filter(None, text.replace(" ", "").split(",")):
        name, _, weight = entry.partition(":")
        if name not in network.names:
            raise ValueError(f"the loss network has no layer {name!r}; it has {', '.join(network.names)}")
        try:
            found[name] = float(weight or 1)
        except ValueError:
            found[name] = math.nan
        if not 0 <= found[name] < math.inf:
            raise ValueError(f"{weight!r} is no weight of the layer {name}")
    if not found:
        raise ValueError("a perceptual loss needs at least one layer of the loss network")
    return found


def feature_distance(
    output: Mapping[str, Tensor], target: Mapping[str, Tensor], weights: Layers, distance: Literal["l1", "mse"] = "mse"
) -> Tensor:
    """Feature reconstruction (equation 2): mean distance of each layer's features, weighed and summed."""
    compare = RECONSTRUCTION[distance]
    return torch.stack([w * compare(output[name].float(), target[name].float()) for name, w in weights.items()]).sum()


def gram(features: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, C]: which features come together, divided by C H W (equation 3)."""
    n, c, h, w = features.shape
    flat = features.float().reshape(n, c, h * w)
    return flat @ flat.transpose(1, 2) / (c * h * w)


def style_distance(output: Mapping[str, Tensor], style: Mapping[str, Tensor], weights: Layers) -> Tensor:
    """Style reconstruction (equation 4): squared differences of Gram matrices, weighed and summed.

    Args:
        style: Gram matrices [1, C, C] of the style image. The mean over entries is taken, as in torch's own example;
            equation 4's Frobenius norm is C^2 times as much.
    """
    distances = [w * (gram(output[name]) - style[name]).square().mean() for name, w in weights.items()]
    return torch.stack(distances).sum()


def total_variation(images: Tensor) -> Tensor:
    """Mean squared difference of neighbours in [N, C, H, W] (section 3.2)."""
    down, right = images.diff(dim=2).square().mean(), images.diff(dim=3).square().mean()
    return down + right
