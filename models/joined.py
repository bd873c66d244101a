"""Networks of several inputs, whether they take a tensor for each of them or one in all."""

import inspect

import torch
from torch import Tensor, nn


class Joined(nn.Module):
    """A network of one tensor, given several inputs: they are its channels, one input after the other.

    Numbers (codes, points, noise) become planes of one value each, as StarGAN (section 3.1) gives its labels.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *given: Tensor) -> Tensor:
        """Images [N, C, H, W] and vectors [N, L] -> the network's result for [N, all C and L, H, W]; vectors alone stay
        one vector, [N, all L]."""
        images = [each for each in given if each.dim() == 4]
        if not images:
            alone: Tensor = self.network(torch.cat(given, dim=1))
            return alone
        height, width = images[0].shape[-2:]
        planes = [each if each.dim() == 4 else each[..., None, None].expand(-1, -1, height, width) for each in given]
        result: Tensor = self.network(torch.cat(planes, dim=1))
        return result


def joined(network: nn.Module, inputs: int) -> nn.Module:
    """The network as one that is called with so many tensors.

    Raises:
        ValueError: it takes another number of them, and not one either.
    """
    least, most = _tensors(network)
    if least <= inputs <= most:
        return network
    if least <= 1 <= most:
        return Joined(network)
    raise ValueError(f"it takes {least} tensors, and its bundle states {inputs} inputs")


def _tensors(network: nn.Module) -> tuple[int, int]:
    """The least and the greatest number of tensors that a network is called with."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [each for each in inspect.signature(network.forward).parameters.values() if each.kind in kinds]
    return sum(each.default is each.empty for each in taken), len(taken)
