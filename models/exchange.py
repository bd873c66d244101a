"""Generators in forms that other programs run: ONNX, torch.export and TorchScript, each run before it is given out."""

import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as shape_settings

from recast.models.description import BundleError
from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.joined import Joined, joined
from recast.models.sizes import rounded_up

T = TypeVar("T")
Given = tuple[Tensor, ...]
"""A tensor for each input of a network, in its order: [N, C, H, W] or [N, L]."""

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export", ".pt": "TorchScript"}
OPSET = 18
TOLERANCE = 1 / 255
"""A file whose results differ by more, in shares of the value range, is not given out."""
TRACED_PX, SMALL_PX = 64, 16
"""Files are made from squares of the one side and tried with some of the other, or of the next that networks take."""
RESULTS = "results"
"""The name of an ONNX file's output."""


def exported(network: nn.Module, descriptor: Descriptor, ending: str) -> tuple[bytes, float]:
    """The file, and how far its result was from the network's, as a share of the value range.

    A file takes what the network does, every input under its name where the format has names.

    Raises:
        BundleError: the network can't be exported so, a package is missing, or the file's results differ.
    """
    network = _exportable(network, descriptor)
    multiple = descriptor.size_multiple
    small = rounded_up(max(SMALL_PX, descriptor.min_size_px), multiple)
    side = max(rounded_up(TRACED_PX, multiple), small + multiple)
    example = _example(descriptor, 1, side, side)
    # Sizes are free within the multiple, down to the least, where a U-Net's innermost features have a single pixel.
    checks = [_example(descriptor, 3, small, small), _example(descriptor, 2, side, side + multiple)]
    names = [each.name for each in descriptor.inputs] or ["images"]
    write, run = {".onnx": (_onnx, _run_onnx), ".pt2": (_program, _run_program), ".pt": (_script, _run_script)}[ending]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = write(network, names, example)
        low, high = descriptor.value_range
        off = float(torch.stack([(run(data, names, x) - network(*x)).abs().max() for x in checks]).max()) / (high - low)
    if not off <= TOLERANCE:
        raise BundleError(f"the {FORMATS[ending]} file gives other results than the bundle (by {off:.2g}); not written")
    return data, off


def _exportable(network: nn.Module, descriptor: Descriptor) -> nn.Module:
    """The network as one that takes a tensor for each of its inputs."""
    if descriptor.conditions:
        raise BundleError(f"networks that need conditions ({', '.join(descriptor.conditions)}) can't be exported")
    for each in descriptor.takes:
        if each.kind == "previous" or each.name == RESULTS:
            raise BundleError(f"networks with the input {each.name} ({each.kind}) can't be exported")
    try:
        return joined(network, len(descriptor.takes)).eval()
    except ValueError as fault:
        raise BundleError(f"the network can't be used: {fault}") from fault


def _example(descriptor: Descriptor, count: int, height: int, width: int) -> Given:
    random = torch.Generator().manual_seed(0)
    return tuple(_values(each, count, height, width, random) for each in descriptor.takes)


def _values(each: NetworkInput, count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    """What an input may hold: values in its range, or of label maps a class for each pixel."""
    low, high = each.value_range
    if each.kind == "labels":
        classes = torch.randint(each.channels, (count, 1, height, width), generator=random)
        return torch.full((count, each.channels, height, width), low).scatter_(1, classes, high)
    shape = (count, each.channels, height, width) if each.has_pixels else (count, each.numbers)
    return torch.rand(shape, generator=random) * (high - low) + low


def _script(network: nn.Module, _names: list[str], example: Given) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, example), file)
    return file.getvalue()


def _run_script(data: bytes, _names: list[str], given: Given) -> Tensor:
    return torch.jit.load(io.BytesIO(data))(*given)


def _program(network: nn.Module, _names: list[str], example: Given) -> bytes:
    """Two images, since torch.export takes a batch of one for the only size there is.

    Sizes of features are left open likewise: it would hold those of a U-Net's innermost to be more than 1 for ever.
    """
    file = io.BytesIO()
    twice = tuple(torch.cat([each, each]) for each in example)
    free = tuple(dict.fromkeys(_free(each), torch.export.Dim.AUTO) for each in example)
    with shape_settings.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # put there at import
        shapes = (free,) if isinstance(network, Joined) else free  # its one parameter stands for all tensors
        program = torch.export.export(network, twice, dynamic_shapes=shapes)
    torch.export.save(program, file)
    return file.getvalue()


def _free(tensor: Tensor) -> dict[int, str]:
    """The dimensions of a tensor that may have other sizes, with their names."""
    return {0: "batch", 2: "height", 3: "width"} if tensor.dim() == 4 else {0: "batch"}


def _run_program(data: bytes, _names: list[str], given: Given) -> Tensor:
    return torch.export.load(io.BytesIO(data)).module()(*given)


def _onnx(network: nn.Module, names: list[str], example: Given) -> bytes:
    free = {name: _free(each) for name, each in zip(names, example, strict=True)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"

        def write() -> None:
            torch.onnx.export(
                network, example, path, opset_version=OPSET, dynamo=False, input_names=names, output_names=[RESULTS],
                dynamic_axes={**free, RESULTS: {0: "batch", 2: "height", 3: "width"}},
            )  # fmt: skip

        _needing("onnx", write)
        return path.read_bytes()


def _run_onnx(data: bytes, names: list[str], given: Given) -> Tensor:
    def run() -> Tensor:
        import onnxruntime

        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        fed = {name: each.numpy() for name, each in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(None, fed)[0])

    return _needing("onnxruntime", run)


def _needing(package: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except ImportError as fault:
        raise BundleError(f"ONNX needs {package} to be made and checked: pip install 'recast-gan[onnx]'") from fault
