"""Generators in forms that other programs run: ONNX, torch.export and TorchScript, each run before it is given out."""

import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.bundle import BundleError
from models.descriptor import Descriptor

T = TypeVar("T")

FORMATS = {".onnx": "ONNX", ".pt2": "torch.export", ".pt": "TorchScript"}
OPSET = 18
TOLERANCE = 1 / 255
"""A file whose results differ by more, in shares of the value range, is not given out."""
TRACED_PX, CHECKED_PX = 64, (96, 80)
"""Files are made from one size and checked with another, batched: sizes are theirs to choose, within the multiple."""


def exported(network: nn.Module, descriptor: Descriptor, ending: str) -> tuple[bytes, float]:
    """The file, and how far its result was from the network's, as a share of the value range.

    Raises:
        BundleError: the network can't be exported so, a package is missing, or the file's results differ.
    """
    example = _example(descriptor, 1, TRACED_PX, TRACED_PX)
    check = _example(descriptor, 3, *CHECKED_PX)
    write, run = {".onnx": (_onnx, _run_onnx), ".pt2": (_program, _run_program), ".pt": (_script, _run_script)}[ending]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = write(network, descriptor, example)
        low, high = descriptor.value_range
        off = float((run(data, check) - network(check)).abs().max()) / (high - low)
    if not off <= TOLERANCE:
        raise BundleError(f"the {FORMATS[ending]} file gives other results than the bundle (by {off:.2g}); not written")
    return data, off


def _example(descriptor: Descriptor, count: int, height: int, width: int) -> Tensor:
    multiple, (low, high) = max(descriptor.size_multiple, 1), descriptor.value_range
    sides = (-(-max(side, descriptor.min_size_px) // multiple) * multiple for side in (height, width))
    random = torch.Generator().manual_seed(0)
    return torch.rand(count, descriptor.in_channels, *sides, generator=random) * (high - low) + low


def _script(network: nn.Module, _descriptor: Descriptor, example: Tensor) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, example), file)
    return file.getvalue()


def _run_script(data: bytes, images: Tensor) -> Tensor:
    return torch.jit.load(io.BytesIO(data))(images)


def _program(network: nn.Module, _descriptor: Descriptor, example: Tensor) -> bytes:
    """Two images, since torch.export takes a batch of one for the only size there is."""
    file = io.BytesIO()
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
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
        raise BundleError(f"ONNX files need {package} to be made and checked: pip install 'recast[onnx]'") from fault
