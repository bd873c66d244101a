"""Pixels through a generator: value ranges, padding, tiles, precision and batches; a network sees only tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.descriptor import Descriptor
from pipeline.images.faults import Fault
from pipeline.images.pictures import Picture

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TILE_PX = 768
"""Side of a tile with its halo. Larger images go through in tiles where the network's receptive field allows it."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One step of a tiled pass along an axis: take `[start, stop)` of the input, keep `[keep_start, keep_stop)`."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


class Generator:
    """A bundle's network on a device, fed with pictures."""

    def __init__(
        self, network: nn.Module, descriptor: Descriptor, *, device: str, precision: Precision, batch_size: int
    ) -> None:
        self.descriptor = descriptor
        self.device = torch.device(device)
        self.dtype = DTYPES[precision]
        self.batch_size = batch_size
        layout = torch.channels_last if self.device.type == "cuda" or precision != "fp32" else torch.contiguous_format
        self.network = network.to(self.device, memory_format=layout)  # type: ignore[call-overload]

    def __call__(self, pictures: Sequence[Picture]) -> list[Picture | Fault]:
        """Pictures of one shape -> their results, in order. A result that isn't finite is a Fault."""
        shape = pictures[0].pixels.shape
        if max(shape[:2]) > TILE_PX and self.descriptor.halo_px is not None:
            return [self._result(p, self._tiled(p.pixels)) for p in pictures]
        results: list[Picture | Fault] = []
        left = iter(pictures)
        while batch := list(islice(left, self.batch_size)):
            # A short batch is filled up: the kernels, and so the bytes, never depend on how many came together.
            filled = batch + [batch[-1]] * (self.batch_size - len(batch))
            outputs = self._forward(np.stack([p.pixels for p in filled]))
            results += [self._result(p, o) for p, o in zip(batch, outputs, strict=False)]
        return results

    def _tiled(self, pixels: np.ndarray) -> np.ndarray:
        """float32 [C, H, W] of a large image, tile by tile, each with the halo that decides its pixels."""
        height, width, _ = pixels.shape
        scale, halo = self.descriptor.scale, self.descriptor.halo_px or 0
        whole = np.empty((self.descriptor.out_channels, height * scale, width * scale), np.float32)
        for rows in tiles(height, halo, self.descriptor.size_multiple):
            for columns in tiles(width, halo, self.descriptor.size_multiple):
                part = pixels[rows.start : rows.stop, columns.start : columns.stop]
                output = self._forward(np.ascontiguousarray(part)[None])[0]
                top, left = (rows.keep_start - rows.start) * scale, (columns.keep_start - columns.start) * scale
                kept = output[
                    :,
                    top : top + (rows.keep_stop - rows.keep_start) * scale,
                    left : left + (columns.keep_stop - columns.keep_start) * scale,
                ]
                whole[
                    :,
                    rows.keep_start * scale : rows.keep_stop * scale,
                    columns.keep_start * scale : columns.keep_stop * scale,
                ] = kept
        return whole

    @torch.inference_mode()
    def _forward(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] -> float32 [N, C', sH, sW] on the 0..255 scale, not yet rounded."""
        d = self.descriptor
        images = torch.from_numpy(pixels).to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        images = _with_channels(images, d.in_channels)
        low, high = d.value_range
        height, width = images.shape[-2:]
        images = _padded(images * ((high - low) / 255.0) + low, d)
        if self.dtype is not torch.float32:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            outputs = self.network(images)
        outputs = outputs.float()[..., : height * d.scale, : width * d.scale]
        return ((outputs - low) * (255.0 / (high - low))).cpu().numpy()

    def _result(self, picture: Picture, output: np.ndarray) -> Picture | Fault:
        """float [C, H, W] on the 0..255 scale -> a Picture; grey stays grey where the task keeps colours."""
        if not np.isfinite(output).all():
            return Fault("generator", "the network gave values that are not finite (NaN or infinity)")
        if picture.pixels.shape[2] == 1 and self.descriptor.task == "upscale":
            output = output.mean(axis=0, keepdims=True)
        pixels = np.rint(output).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        alpha = None if picture.alpha is None else _resized(picture.alpha, pixels.shape[1], pixels.shape[0])
        return picture.with_pixels(np.ascontiguousarray(pixels), alpha)


def tiles(length: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Cut an axis of `length` pixels into tiles of at most TILE_PX with `halo` on each side that isn't the image's own.

    Tiles begin at multiples of `multiple`, so that strided networks see each pixel in the same phase as in the whole.
    """
    if length <= TILE_PX:
        yield Tile(0, length, 0, length)
        return
    margin = -(-halo // multiple) * multiple
    core = max((TILE_PX - 2 * margin) // multiple, 1) * multiple
    for keep in range(0, length, core):
        stop = min(keep + core, length)
        yield Tile(max(keep - margin, 0), min(stop + margin, length), keep, stop)


def _with_channels(images: Tensor, channels: int) -> Tensor:
    """[N, C, H, W] with `channels` channels: grey repeated, or colour reduced to luma (ITU-R BT.601)."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    luma = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
    return (images * luma).sum(dim=1, keepdim=True)


def _padded(images: Tensor, descriptor: Descriptor) -> Tensor:
    """Padded at the bottom and right to sizes the network takes: mirrored, or by the edge where that is too little."""
    height, width = images.shape[-2:]
    multiple, least = descriptor.size_multiple, descriptor.min_size_px
    down = -(-max(height, least) // multiple) * multiple - height
    right = -(-max(width, least) // multiple) * multiple - width
    if not (down or right):
        return images
    mirrored = down < height and right < width
    return F.pad(images, (0, right, 0, down), mode="reflect" if mirrored else "replicate")


def _resized(alpha: np.ndarray, width: int, height: int) -> np.ndarray:
    if alpha.shape == (height, width):
        return alpha
    return np.asarray(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC))
