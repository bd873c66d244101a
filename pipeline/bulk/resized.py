"""Enlarging to any factor or size: by the network of the next larger factor, and a fine reduction of what it gives."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from recast.models.digests import short_digest
from recast.pipeline.bulk.operation import Operation, OperationPayload, Operator, Result
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources.inputs import Input


@dataclass(frozen=True, kw_only=True)
class Target:
    """How large results are to be: so many times their input, or within a width and a height in pixels."""

    scale: float = 0.0
    """0: the sides say it."""
    width: int = 0
    height: int = 0
    """0: as the other side says."""

    @classmethod
    def within(cls, text: str) -> Self:
        """The sides that a text names: `1920x1080`, `2048x`, `x1080`."""
        width, _, height = text.partition("x")
        return cls(width=int(width or 0), height=int(height or 0))

    def factor(self, width: int, height: int) -> float:
        """Output pixels per input pixel, for an input of that size."""
        if self.scale:
            return self.scale
        sides = ((self.width, width), (self.height, height))
        return min(wanted / side for wanted, side in sides if wanted)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result of an input of that size: the sides named exactly, the others rounded."""
        factor = self.factor(width, height)
        return max(1, round(width * factor)), max(1, round(height * factor))

    def __str__(self) -> str:
        return f"x{self.scale:g}" if self.scale else f"{self.width or ''}x{self.height or ''} px"


def resizing(operations: Mapping[int, Operation], target: Target) -> Operation:
    """An operation that enlarges to a target.

    Args:
        operations: what enlarges by whole factors, by those.
    """
    one, digests = next(iter(operations.values())), [operation.digest for operation in operations.values()]
    return dataclasses.replace(
        one,
        name=f"{' and '.join(o.name for o in operations.values())}, to {target}",
        digest=digests[0] if len(digests) == 1 else short_digest("\n".join(digests).encode()),
        payload=lambda: ResizingPayload({factor: o.payload() for factor, o in operations.items()}, target),
    )


@dataclass(frozen=True)
class ResizingPayload:
    """What enlarges by whole factors, and what is wanted."""

    payloads: dict[int, OperationPayload]
    target: Target

    def operator(self, settings: WorkerSettings) -> "Resizing":
        return Resizing({factor: each.operator(settings) for factor, each in self.payloads.items()}, self.target)


class Resizing(Operator):
    """Enlarges pictures of one shape by the smallest factor that suffices, and reduces what comes to what is wanted."""

    def __init__(self, operators: Mapping[int, Operator], target: Target) -> None:
        self._operators, self._target = dict(sorted(operators.items())), target
        self.any_threads = all(operator.any_threads for operator in operators.values())

    def decode(self, data: bytes, max_pixels: int) -> Picture:
        return next(iter(self._operators.values())).decode(data, max_pixels)

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        width, height = pictures[0].width, pictures[0].height
        factor, size = self._target.factor(width, height), self._target.size(width, height)
        if factor <= 1:
            return [Result(picture=reduced(picture, size)) for picture in pictures]
        enough = next((whole for whole in self._operators if whole >= factor), 0)
        if not enough:
            wanted = f"{width} x {height} px to {size[0]} x {size[1]} px is {factor:.3g} times as large"
            fault = InputError("too-small", f"{wanted}; {max(self._operators)} times is the most")
            return [fault for _ in pictures]
        return [_reduced(result, size) for result in self._operators[enough](pictures, items)]


def _reduced(result: Result | InputError, size: tuple[int, int]) -> Result | InputError:
    if isinstance(result, InputError) or result.picture is None:
        return result
    return dataclasses.replace(result, picture=reduced(result.picture, size))


def reduced(picture: Picture, size: tuple[int, int]) -> Picture:
    """A picture at another width and height, by Lanczos's filter with three lobes, as wide as the reduction."""
    if size == (picture.width, picture.height):
        return picture
    alpha = None if picture.alpha is None else _resized(picture.alpha[..., None], size)[..., 0]
    return picture.with_pixels(_resized(picture.pixels, size), alpha)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 or uint16 [H, W, C] -> the same at (width, height), in float32 a channel at a time."""
    made = np.empty((size[1], size[0], pixels.shape[2]), pixels.dtype)
    most = np.iinfo(pixels.dtype).max
    for channel in range(pixels.shape[2]):
        plane = Image.fromarray(pixels[..., channel].astype(np.float32))
        values = np.asarray(plane.resize(size, Image.Resampling.LANCZOS))
        made[..., channel] = np.clip(np.rint(values), 0, most)
    return made
