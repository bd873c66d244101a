"""A network as a graph of layers that need no more of an image than some rows around their own."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from recast.models.networks.layers import InstanceNorm
from recast.models.networks.transform_net import PaddedConv

MARGIN_ROWS = 8
"""Rows of its input that a layer is given above and below what it must compute; no kernel here reaches further."""
LOCAL = (nn.Conv2d, nn.ConvTranspose2d, PaddedConv)
POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Identity, nn.Dropout)


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of a network: what computes it, from which steps, and its size as a share of the image's."""

    inputs: tuple[str, ...]
    compute: Callable[..., Tensor] | None
    """None for an input of the network."""
    share: Fraction
    channels: int
    reach: int
    """Rows of the input that its pixels depend on beyond their own place, rounded up."""
    norm: InstanceNorm | None = None


class _Tracer(fx.Tracer):
    """Looks into modules down to the layers that are known here."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*LOCAL, *POINTWISE, InstanceNorm)) or super().is_leaf_module(m, module_qualified_name)


def traced(network: nn.Module, probes: Sequence[Tensor]) -> dict[str, Layer] | None:
    """A network's layers in order of computation, the result last; None where one of them is not known here.

    Args:
        probes: squares of one side that it takes, float32 [1, C, S, S] each.
    """
    try:
        graph = _Tracer().trace(network)
        shapes = _Shapes(fx.GraphModule(network, graph))
        with torch.inference_mode():
            shapes.run(*probes)
    except (TypeError, ValueError, RuntimeError):  # a network whose graph hangs on values, or that takes no such probe
        return None
    modules = dict(network.named_modules())
    layers: dict[str, Layer] = {}
    pads: dict[str, tuple[str, nn.Module]] = {}
    for node in graph.nodes:
        inputs = tuple(argument.name for argument in node.all_input_nodes)
        module = modules[node.target] if node.op == "call_module" else None
        if node.op == "output":
            return layers if inputs == (next(reversed(layers), ""),) else None
        if isinstance(module, nn.ReflectionPad2d):
            pads[node.name] = (inputs[0], module)
            continue
        if module is not None and inputs[0] in pads:  # padding belongs to the convolution after it
            below, pad = pads[inputs[0]]
            inputs, module = (below,), nn.Sequential(pad, module)
        if node.name not in shapes.of:  # an input that is not given, or what is no tensor
            return None
        made = _layer(node, inputs, module, shapes.of[node.name], probes[0].shape[2])
        if made is None or any(name not in layers for name in inputs):
            return None
        layers[node.name] = made
    return None


def _layer(
    node: fx.Node, inputs: tuple[str, ...], module: nn.Module | None, shape: tuple[int, ...], probed: int
) -> Layer | None:
    facts: dict[str, Any] = {"inputs": inputs, "share": Fraction(shape[2], probed), "channels": shape[1]}
    if node.op == "placeholder":
        return Layer(compute=None, reach=0, **facts)
    if isinstance(module, InstanceNorm):
        return Layer(compute=module, reach=0, norm=module, **facts)
    if isinstance(module, POINTWISE):
        return Layer(compute=module, reach=0, **facts)
    if module is not None:
        return Layer(compute=module, reach=MARGIN_ROWS, **facts) if _reaches_little(module) else None
    if node.target in (operator.add, torch.add):
        return Layer(compute=operator.add, reach=0, **facts)
    if node.target is torch.cat:
        return Layer(compute=lambda *parts: torch.cat(parts, 1), reach=0, **facts)
    if node.target in (F.relu, torch.relu):
        return Layer(compute=torch.relu, reach=0, **facts)
    return None


def _reaches_little(module: nn.Module) -> bool:
    """Whether a layer is a convolution, padded or not, whose pixels hang on fewer rows than the margin has."""
    *before, last = module if isinstance(module, nn.Sequential) else [module]
    convolution = last.conv2d if isinstance(last, PaddedConv) else last
    if not isinstance(convolution, (nn.Conv2d, nn.ConvTranspose2d)):
        return False
    if not all(isinstance(pad, nn.ReflectionPad2d) for pad in before):
        return False
    reach = (convolution.kernel_size[0] - 1) * convolution.dilation[0] // 2
    return reach < MARGIN_ROWS and MARGIN_ROWS % convolution.stride[0] == 0


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shape of what each node gives."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.of: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        made = super().run_node(n)
        if isinstance(made, Tensor):
            self.of[n.name] = tuple(made.shape)
        return made
