"""Networks with instance norm over images of any size, layer by layer, so that every statistic is of the whole image.

An instance norm takes the mean and variance of all of an image; tiles of their own would each get other colours. Here
each layer is computed for the whole image in strips, and what a later layer needs of it lies in a scratch file until
then. The result is the whole image's to rounding, and memory holds a few strips.
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.joined import Joined
from recast.models.networks.layers import InstanceNorm
from recast.models.sizes import rounded_up
from recast.pipeline.bulk.layer_graph import MARGIN_ROWS, Layer, traced
from recast.pipeline.input_errors import raised_by_network
from recast.pipeline.output.shards import ScratchError

STRIP_BYTES = 64 << 20
"""About what a strip of a layer takes."""
PROBE_PX = 64
"""Side of the square by which layers' shapes are learned, at least."""
Rows = Callable[[int, int], Tensor]
"""Rows [a, b) of an input as float32 [1, C, b - a, W]."""


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

    layers: dict[str, Layer]
    inputs: Mapping[str, Rows]
    """Rows of each input, by the name of its layer."""
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
            return self.inputs[name](start, stop)
        if layer.norm is not None:
            below = layer.inputs[0]
            return _normalised(self.rows(below, start, stop), layer.norm, *self.scratch[below].moments())
        if layer.reach:
            return self._local(layer, start, stop)
        given = [self.rows(below, start, stop) for below in layer.inputs]
        with raised_by_network():
            return layer.compute(*given)

    def _local(self, layer: Layer, start: int, stop: int) -> Tensor:
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

    def __init__(self, layers: dict[str, Layer], device: torch.device, *, joins: bool) -> None:
        """`joins`: all inputs are the channels of the one tensor that the network takes."""
        self._layers, self._device, self._joins = layers, device, joins
        *self._order, self._last = layers
        self._kept = [name for name in self._order if self._is_kept(name)]
        self._last_use = self._uses()

    @classmethod
    def of(cls, network: nn.Module, descriptor: Descriptor, device: torch.device) -> "LayerByLayer | None":
        """The graph of a network in eval mode, or None: it has no instance norm, or layers that are not known here."""
        if not any(isinstance(module, InstanceNorm) for module in network.modules()):
            return None
        side = rounded_up(max(PROBE_PX, descriptor.min_size_px), descriptor.size_multiple)
        channels = [each.channels if each.has_pixels else each.numbers for each in descriptor.takes]
        if joins := isinstance(network, Joined):
            network, channels = network.network, [sum(channels)]
        elif not all(each.has_pixels for each in descriptor.takes):
            return None
        layers = traced(network, [torch.zeros(1, count, side, side, device=device) for count in channels])
        if layers is None or layers[next(reversed(layers))].share != descriptor.scale:
            return None
        return cls(layers, device, joins=joins)

    @torch.inference_mode()
    def run(self, inputs: Sequence[Rows], height: int, width: int, take: Callable[[int, Tensor], None]) -> None:
        """Compute the network's result for an image of a size that it takes, and hand it over strip by strip.

        Args:
            inputs: what the network takes, in its order, all of one size; numbers are planes of one value each.
            take: is given each strip's first row and the strip, float32 [1, C, h, W].

        Raises:
            ScratchError: the folder for temporary files has no room for the layers.
        """
        several = [_joined(inputs)] if self._joins else inputs
        names = (name for name, layer in self._layers.items() if layer.compute is None)
        run = _Run(self._layers, dict(zip(names, several, strict=True)), height, self._device)
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


def _joined(inputs: Sequence[Rows]) -> Rows:
    return lambda start, stop: torch.cat([rows(start, stop) for rows in inputs], dim=1)


def _normalised(rows: Tensor, norm: InstanceNorm, mean: np.ndarray, variance: np.ndarray) -> Tensor:
    """An instance norm by the whole image's statistics."""
    factor = 1 / np.sqrt(variance + norm.eps)
    weight = 1.0 if norm.weight is None else norm.weight.double().cpu().numpy()
    bias = 0.0 if norm.bias is None else norm.bias.double().cpu().numpy()
    both = factor * weight, bias - mean * factor * weight
    scale, shift = (torch.from_numpy(v.astype(np.float32)).to(rows.device) for v in both)
    return rows.float() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
