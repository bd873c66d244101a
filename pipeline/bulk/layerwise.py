"""Networks with instance norm over images of any size, layer by layer, so that every statistic is of the whole image.

An instance norm takes the mean and variance of all of an image; tiles of their own would each get other colours. Here
each layer is computed for the whole image in strips, and what a later layer needs of it lies in a scratch file until
then. The result is the whole image's to rounding, and memory holds a few strips.
"""

import operator
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from recast.models.descriptor import Descriptor
from recast.models.networks.layers import InstanceNorm
from recast.models.networks.transform_net import PaddedConv
from recast.models.sizes import rounded_up
from recast.pipeline.input_errors import raised_by_network
from recast.pipeline.output.shards import ScratchError

STRIP_BYTES = 64 << 20
"""About what a strip of a layer takes."""
MARGIN_ROWS = 8
"""Rows of its input that a layer is given above and below what it must compute; no kernel here reaches further."""
PROBE_PX = 64
"""Side of the square by which layers' shapes are learned, at least."""
LOCAL = (nn.Conv2d, nn.ConvTranspose2d, PaddedConv)
POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Identity, nn.Dropout)

Rows = Callable[[int, int], Tensor]
"""Rows [a, b) of an image as float32 [1, C, b - a, W]."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One step of a network: what computes it, from which steps, and its size as a share of the image's."""

    inputs: tuple[str, ...]
    compute: Callable[..., Tensor] | None
    """None for the image itself."""
    share: Fraction
    channels: int
    reach: int
    """Rows of the input that its pixels depend on beyond their own place, rounded up."""
    norm: InstanceNorm | None = None


class _Scratch:
    """A layer's values for the whole image, [H, W, C] in an unnamed file, and their statistics."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        self._file = tempfile.TemporaryFile(prefix="recast-layer-")  # noqa: SIM115  # closed by `close`
        _reserve(self._file.fileno(), 4 * height * width * channels)
        self.values = np.memmap(self._file, np.float32, "w+", shape=(height, width, channels))
        self._sums = np.zeros((2, channels))

    def put(self, start: int, strip: Tensor) -> None:
        rows = strip[0].permute(1, 2, 0).float().cpu().numpy()
        self.values[start : start + len(rows)] = rows
        flat = rows.reshape(-1, rows.shape[2])
        self._sums += flat.sum(0, dtype=np.float64), np.einsum("nc,nc->c", flat, flat, dtype=np.float64)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each channel, float64 [C]."""
        count = self.values.shape[0] * self.values.shape[1]
        mean = self._sums[0] / count
        return mean, np.maximum(self._sums[1] / count - mean**2, 0)

    def rows(self, start: int, stop: int) -> Tensor:
        return torch.from_numpy(np.array(self.values[start:stop])).permute(2, 0, 1)[None]

    def close(self) -> None:
        del self.values
        self._file.close()


def _reserve(descriptor: int, size: int) -> None:
    """Take the room for a file at once: a full disk would end the process when it writes to a mapped file.

    Raises:
        ScratchError: there is not so much.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS, where nobody runs archives
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as fault:
        raise ScratchError(
            f"the folder for temporary files, {tempfile.gettempdir()}, has no room for {size:,} bytes of a large "
            f"image's layers ({fault.strerror}); make room there, or set TMPDIR to another"
        ) from fault


@dataclass(frozen=True, slots=True)
class _Run:
    """One image on its way through the layers."""

    layers: dict[str, _Layer]
    image: Rows
    height: int
    device: torch.device
    scratch: dict[str, _Scratch] = field(default_factory=dict)
    """The layers that later ones still need."""

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows of a layer, from its scratch file where it has one."""
        kept = self.scratch.get(name)
        return kept.rows(start, stop).to(self.device) if kept else self.computed(name, start, stop)

    def computed(self, name: str, start: int, stop: int) -> Tensor:
        """Rows of a layer, from the rows of its inputs that they need."""
        layer = self.layers[name]
        if layer.compute is None:
            return self.image(start, stop)
        if layer.norm is not None:
            below = layer.inputs[0]
            return _normalised(self.rows(below, start, stop), layer.norm, *self.scratch[below].moments())
        if layer.reach:
            return self._local(layer, start, stop)
        given = [self.rows(below, start, stop) for below in layer.inputs]
        with raised_by_network():
            return layer.compute(*given)

    def _local(self, layer: _Layer, start: int, stop: int) -> Tensor:
        """Rows that hang on some above and below: the layer is given a margin, and what that spoils is cut off."""
        assert layer.compute is not None
        below = layer.inputs[0]
        ratio = layer.share / self.layers[below].share
        whole = int(self.height * self.layers[below].share)
        first = max(int(start / ratio) // MARGIN_ROWS * MARGIN_ROWS - MARGIN_ROWS, 0)
        last = min(-int(-stop // ratio) + MARGIN_ROWS, whole)
        offset = start - int(first * ratio)
        given = self.rows(below, first, last)
        with raised_by_network():
            return layer.compute(given)[:, :, offset : offset + stop - start]


class LayerByLayer:
    """A network with instance norms as a graph of local layers."""

    def __init__(self, layers: dict[str, _Layer], device: torch.device) -> None:
        self._layers, self._device = layers, device
        *self._order, self._last = layers
        self._kept = [name for name in self._order if self._is_kept(name)]
        self._last_use = self._uses()

    @classmethod
    def of(cls, network: nn.Module, descriptor: Descriptor, device: torch.device) -> "LayerByLayer | None":
        """The graph of a network in eval mode, or None: it has no instance norm, or layers that are not known here."""
        if not any(isinstance(module, InstanceNorm) for module in network.modules()):
            return None
        side = rounded_up(max(PROBE_PX, descriptor.min_size_px), descriptor.size_multiple)
        layers = _traced(network, torch.zeros(1, descriptor.in_channels, side, side, device=device))
        if layers is None or layers[next(reversed(layers))].share != descriptor.scale:
            return None
        return cls(layers, device)

    @torch.inference_mode()
    def run(self, image: Rows, height: int, width: int, take: Callable[[int, Tensor], None]) -> None:
        """Compute the network's result for an image of a size that it takes, and hand it over strip by strip.

        Args:
            take: is given each strip's first row and the strip, float32 [1, C, h, W].

        Raises:
            ScratchError: the folder for temporary files has no room for the layers.
        """
        run = _Run(self._layers, image, height, self._device)
        try:
            for turn, name in enumerate([*self._kept, self._last]):
                layer = self._layers[name]
                high, wide = int(height * layer.share), int(width * layer.share)
                kept = _Scratch(high, wide, layer.channels) if name != self._last else None
                step = max(STRIP_BYTES // (4 * layer.channels * wide) // MARGIN_ROWS, 2) * MARGIN_ROWS
                for start in range(0, high, step):
                    strip = run.computed(name, start, min(start + step, high))
                    kept.put(start, strip) if kept else take(start, strip)
                if kept:
                    run.scratch[name] = kept
                for old in [old for old in run.scratch if self._last_use[old] <= turn]:
                    run.scratch.pop(old).close()
        finally:
            for left in run.scratch.values():
                left.close()

    def _is_kept(self, name: str) -> bool:
        """Whether a layer is computed once and kept: what a norm takes statistics of, and what several layers need."""
        users = [user for user in self._layers.values() if name in user.inputs]
        if any(user.norm is not None for user in users):
            return True
        layer = self._layers[name]
        cheap = layer.compute is None or layer.norm is not None
        return len(users) > 1 and not cheap

    def _uses(self) -> dict[str, int]:
        """For each kept layer the turn after which nothing needs it any more."""
        turns = {name: turn for turn, name in enumerate([*self._kept, self._last])}
        last = dict.fromkeys(self._kept, 0)
        for name, turn in turns.items():
            for source in self._sources(name):
                last[source] = max(last[source], turn)
        return last

    def _sources(self, name: str) -> set[str]:
        """The kept layers that a layer is computed from."""
        found = set()
        for below in self._layers[name].inputs:
            found |= {below} if below in self._kept else self._sources(below)
        return found


def _normalised(rows: Tensor, norm: InstanceNorm, mean: np.ndarray, variance: np.ndarray) -> Tensor:
    """An instance norm by the whole image's statistics."""
    factor = 1 / np.sqrt(variance + norm.eps)
    weight = 1.0 if norm.weight is None else norm.weight.double().cpu().numpy()
    bias = 0.0 if norm.bias is None else norm.bias.double().cpu().numpy()
    both = factor * weight, bias - mean * factor * weight
    scale, shift = (torch.from_numpy(v.astype(np.float32)).to(rows.device) for v in both)
    return rows.float() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


class _Tracer(fx.Tracer):
    """Looks into modules down to the layers that are known here."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*LOCAL, *POINTWISE, InstanceNorm)) or super().is_leaf_module(m, module_qualified_name)


def _traced(network: nn.Module, probe: Tensor) -> dict[str, _Layer] | None:
    """A network's layers in order of computation, the result last; None where one of them is not known here."""
    try:
        graph = _Tracer().trace(network)
        shapes = _Shapes(fx.GraphModule(network, graph))
        with torch.inference_mode():
            shapes.run(probe)
    except (TypeError, ValueError, RuntimeError):  # a network whose graph hangs on values, or that takes no such probe
        return None
    modules = dict(network.named_modules())
    layers: dict[str, _Layer] = {}
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
        made = _layer(node, inputs, module, shapes.of[node.name], probe.shape[2])
        if made is None or any(name not in layers for name in inputs):
            return None
        layers[node.name] = made
    return None


def _layer(
    node: fx.Node, inputs: tuple[str, ...], module: nn.Module | None, shape: tuple[int, ...], probed: int
) -> _Layer | None:
    facts: dict[str, Any] = {"inputs": inputs, "share": Fraction(shape[2], probed), "channels": shape[1]}
    if node.op == "placeholder":
        return _Layer(compute=None, reach=0, **facts)
    if isinstance(module, InstanceNorm):
        return _Layer(compute=module, reach=0, norm=module, **facts)
    if isinstance(module, POINTWISE):
        return _Layer(compute=module, reach=0, **facts)
    if module is not None:
        return _Layer(compute=module, reach=MARGIN_ROWS, **facts) if _reaches_little(module) else None
    if node.target in (operator.add, torch.add):
        return _Layer(compute=operator.add, reach=0, **facts)
    if node.target is torch.cat:
        return _Layer(compute=lambda *parts: torch.cat(parts, 1), reach=0, **facts)
    if node.target in (F.relu, torch.relu):
        return _Layer(compute=torch.relu, reach=0, **facts)
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
