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

from recast.models.bundle import BundleError
from recast.models.descriptor import Descriptor
from recast.models.sizes import rounded_up

T = TypeVar("T")

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export", ".pt": "TorchScript"}
OPSET = 18
TOLERANCE = 1 / 255
"""A file whose results differ by more, in shares of the value range, is not given out."""
TRACED_PX, SMALL_PX = 64, 16
"""Files are made from squares of the one side and tried with some of the other, or of the next that networks take."""


def exported(network: nn.Module, descriptor: Descriptor, ending: str) -> tuple[bytes, float]:
    """The file, and how far its result was from the network's, as a share of the value range.

    Raises:
        BundleError: the network can't be exported so, a package is missing, or the file's results differ.
    """
    if [each.kind for each in descriptor.takes] != ["image"]:
        names = ", ".join(each.name for each in descriptor.takes)
        raise BundleError(f"only networks that take one image are exported, and this one takes {names}")
    multiple = descriptor.size_multiple
    small = rounded_up(max(SMALL_PX, descriptor.min_size_px), multiple)
    side = max(rounded_up(TRACED_PX, multiple), small + multiple)
    example = _example(descriptor, 1, side, side)
    # Sizes are free within the multiple, down to the least, where a U-Net's innermost features have a single pixel.
    checks = [_example(descriptor, 3, small, small), _example(descriptor, 2, side, side + multiple)]
    write, run = {".onnx": (_onnx, _run_onnx), ".pt2": (_program, _run_program), ".pt": (_script, _run_script)}[ending]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = write(network, descriptor, example)
        low, high = descriptor.value_range
        off = float(torch.stack([(run(data, x) - network(x)).abs().max() for x in checks]).max()) / (high - low)
    if not off <= TOLERANCE:
        raise BundleError(f"the {FORMATS[ending]} file gives other results than the bundle (by {off:.2g}); not written")
    return data, off


def _example(descriptor: Descriptor, count: int, height: int, width: int) -> Tensor:
    low, high = descriptor.value_range
    random = torch.Generator().manual_seed(0)
    return torch.rand(count, descriptor.in_channels, height, width, generator=random) * (high - low) + low


def _script(network: nn.Module, _descriptor: Descriptor, example: Tensor) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, example), file)
    return file.getvalue()


def _run_script(data: bytes, images: Tensor) -> Tensor:
    return torch.jit.load(io.BytesIO(data))(images)


def _program(network: nn.Module, _descriptor: Descriptor, example: Tensor) -> bytes:
    """Two images, since torch.export takes a batch of one for the only size there is.

    Sizes of features are left open likewise: it would hold those of a U-Net's innermost to be more than 1 for ever.
    """
    file = io.BytesIO()
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    with shape_settings.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # put there at import
        program = torch.export.export(network, (example.repeat(2, 1, 1, 1),), dynamic_shapes=(free,))
    torch.export.save(program, file)
    return file.getvalue()


def _run_program(data: bytes, images: Tensor) -> Tensor:
    return torch.export.load(io.BytesIO(data)).module()(images)


def _onnx(network: nn.Module, _descriptor: Descriptor, example: Tensor) -> bytes:
    sizes = {0: "batch", 2: "height", 3: "width"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"

        def write() -> None:
            torch.onnx.export(
                network, (example,), path, opset_version=OPSET, dynamo=False,
                input_names=["images"], output_names=["results"], dynamic_axes={"images": sizes, "results": sizes},
            )  # fmt: skip

        _needing("onnx", write)
        return path.read_bytes()


def _run_onnx(data: bytes, images: Tensor) -> Tensor:
    def run() -> Tensor:
        import onnxruntime

        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return _needing("onnxruntime", run)


def _needing(package: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except ImportError as fault:
        raise BundleError(f"ONNX needs {package} to be made and checked: pip install 'recast-gan[onnx]'") from fault
