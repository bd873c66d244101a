"""Pixels through a generator: value ranges, padding, tiles, precision and batches; a network sees only tensors."""

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice, product

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.joined import joined
from recast.models.sizes import rounded_up
from recast.pipeline.bulk.layerwise import LayerByLayer
from recast.pipeline.bulk.network_values import NO_PICTURE, WITH_ALPHA, Given, seed_of, tensor_of, values_of
from recast.pipeline.bulk.operation import Operator, Result
from recast.pipeline.bulk.tiles import Tile, Tiling, lay, tiling
from recast.pipeline.bulk.values import NotFiniteError, to_pixels
from recast.pipeline.images.decode import decode, decode_labels
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError, raised_by_network
from recast.pipeline.precision import Precision
from recast.pipeline.sources.inputs import Input

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Generator(Operator):
    """A bundle's network on a device, fed with pictures."""

    def __init__(
        self,
        network: nn.Module,
        descriptor: Descriptor,
        *,
        device: str,
        precision: Precision,
        batch_size: int,
        noise: bool = False,
    ) -> None:
        """With `noise`, dropout drops out and batch norms take an image's own statistics, as in training."""
        if noise:
            batch_size = 1
            for module in network.modules():
                if isinstance(module, (nn.Dropout, nn.BatchNorm2d)):
                    module.train()
        self._rng_lock = threading.Lock() if noise else None
        self.descriptor, self._takes, self._picture_at = descriptor, descriptor.takes, descriptor.picture
        network = joined(network, len(self._takes))
        self.any_threads = precision == "fp32" and not noise and bool(getattr(network, "any_threads", False))
        self.device = torch.device(device)
        self.dtype = DTYPES[precision]
        self.batch_size = batch_size
        self._buffer = np.empty(0, np.float32)
        self._layout = self._fitting_layout(network)
        self.network = network.to(self.device)
        if self._layout is not None:
            self.network = self.network.to(memory_format=self._layout)  # type: ignore[call-overload]  # torch omits it

    def _fitting_layout(self, network: nn.Module) -> torch.memory_format | None:
        """Convolutions are fastest pixel by pixel. Where there are none, values may stay as they lie."""
        return torch.channels_last if any(p.dim() == 4 for p in network.parameters()) else None

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input] = ()) -> list[Result | InputError]:
        """Pictures of one shape and depth -> their results, in order. A result that isn't finite is an InputError.

        The inputs' keys decide what is random, where something is.
        """
        keys = [item.key for item in items] or [""] * len(pictures)
        made = self._seeded(pictures, keys) if self._rng_lock else self._results(pictures, keys)
        return [Result(picture=picture) if isinstance(picture, Picture) else picture for picture in made]

    def decode(self, data: bytes, max_pixels: int) -> Picture:
        """An input's bytes as what the first of the network's inputs with pixels is: an image, or a label map."""
        if self._picture_at is None:
            return NO_PICTURE
        labels = self._takes[self._picture_at].kind == "labels"
        return decode_labels(data, max_pixels) if labels else decode(data, max_pixels)

    def _seeded(self, pictures: Sequence[Picture], keys: Sequence[str]) -> list[Picture | InputError]:
        return [self._seeded_by(key, picture) for picture, key in zip(pictures, keys, strict=True)]

    def _seeded_by(self, key: str, picture: Picture) -> Picture | InputError:
        """torch has one source of random numbers for all threads, so one picture has it at a time."""
        assert self._rng_lock is not None
        with self._rng_lock:
            torch.manual_seed(seed_of(key))
            return self._results([picture], [key])[0]

    def _results(self, pictures: Sequence[Picture], keys: Sequence[str]) -> list[Picture | InputError]:
        height, width, _ = pictures[0].pixels.shape
        given = (values_of(picture, self.descriptor, key) for picture, key in zip(pictures, keys, strict=True))
        cut = None if any(each.kind == "points" for each in self._takes) else tiling(self.descriptor, height, width)
        if cut is not None:
            layers = self._layers if cut.ramp else None
            return [
                self._layered(picture, each, layers) if layers else self._tiled(picture, each, cut)
                for picture, each in zip(pictures, given, strict=True)
            ]
        outputs = self._batches(given)
        return [self._whole(picture, output) for picture, output in zip(pictures, outputs, strict=True)]

    def _whole(self, picture: Picture, output: Tensor) -> Picture | InputError:
        try:
            return self._result(picture, self._pixels(output, picture.pixels))
        except NotFiniteError:
            return _NOT_FINITE

    @cached_property
    def _layers(self) -> LayerByLayer | None:
        """The network layer by layer, where its norms take statistics of the whole image."""
        if self._rng_lock is not None:  # strips of a layer would see other noise each time
            return None
        return LayerByLayer.of(self.network, self.descriptor, self.device)

    def _layered(self, picture: Picture, given: Given, layers: LayerByLayer) -> Picture | InputError:
        """A large image through a network that looks at all of it: the whole image's result, to rounding."""
        scale = self.descriptor.scale
        height, width, _ = picture.pixels.shape
        down, right = _padding(height, width, self.descriptor)
        strips: list[np.ndarray] = []

        def take(start: int, strip: Tensor) -> None:
            kept = strip[0, :, : max(height * scale - start, 0), : width * scale].float()
            strips.append(self._pixels(kept, picture.pixels))

        inputs = [
            partial(self._padded_rows, values, each, height, width)
            for values, each in zip(given, self._takes, strict=True)
        ]
        try:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
                layers.run(inputs, height + down, width + right, take)
        except NotFiniteError:
            return _NOT_FINITE
        return self._result(picture, np.concatenate(strips), "computed layer by layer")

    @torch.inference_mode()
    def _padded_rows(
        self, values: np.ndarray, each: NetworkInput, height: int, width: int, start: int, stop: int
    ) -> Tensor:
        """Rows of an input as the network takes it, padded at the bottom and right: float32 [1, C, h, W]; of numbers,
        planes of one value each."""
        down, right = _padding(height, width, self.descriptor)
        if not each.has_pixels:
            return tensor_of(values, each, self.device).view(1, -1, 1, 1).expand(-1, -1, stop - start, width + right)
        mirrored = down < height and right < width
        places = np.arange(start, stop)
        beyond = 2 * (height - 1) - places if mirrored else np.full_like(places, height - 1)
        taken = values[np.where(places < height, places, beyond)]
        strip = tensor_of(taken, each, self.device)[None]
        return F.pad(strip, (0, right, 0, 0), mode="reflect" if mirrored else "replicate") if right else strip

    def _tiled(self, picture: Picture, given: Given, cut: Tiling) -> Picture | InputError:
        """A large image tile by tile. Besides its pixels and the result's, memory holds one row of tiles' results."""
        height, width, _ = picture.pixels.shape
        scale, fade = self.descriptor.scale, cut.ramp * self.descriptor.scale
        columns, rows = list(cut.axis(width)), list(cut.axis(height))
        pieces = self._pieces(given, picture.pixels, rows, columns)
        whole: np.ndarray | None = None
        try:
            for row in rows:
                strip: np.ndarray | None = None
                for column, piece in zip(columns, pieces, strict=False):
                    if strip is None:
                        strip = np.empty((piece.shape[0], width * scale, piece.shape[2]), piece.dtype)
                    across = strip.swapaxes(0, 1), piece.swapaxes(0, 1)
                    lay(*across, column.keep_start * scale, fade if column.keep_start else 0)
                assert strip is not None
                if whole is None:
                    whole = np.empty((height * scale, width * scale, strip.shape[2]), strip.dtype)
                lay(whole, strip, row.keep_start * scale, fade if row.keep_start else 0)
        except NotFiniteError:
            return _NOT_FINITE
        assert whole is not None
        count = len(rows) * len(columns)
        note = f"blended from {count} tiles of {cut.side} px" if cut.ramp else f"exact from {count} tiles"
        return self._result(picture, whole, note)

    def _pieces(self, given: Given, like: np.ndarray, rows: list[Tile], columns: list[Tile]) -> Iterator[np.ndarray]:
        """What is kept of every tile's result, row by row: uint [h, w, C'], as deep and as grey as `like`."""
        places = list(product(rows, columns))
        outputs = self._batches(
            tuple(each[r.start : r.stop, c.start : c.stop] if each.ndim == 3 else each for each in given)
            for r, c in places
        )
        for (row, column), output in zip(places, outputs, strict=True):
            kept = output[:, self._kept(row), :][:, :, self._kept(column)]
            yield self._pixels(kept, like)

    def _kept(self, tile: Tile) -> slice:
        scale = self.descriptor.scale
        return slice((tile.keep_start - tile.start) * scale, (tile.keep_stop - tile.start) * scale)

    def _batches(self, several: Iterable[Given]) -> Iterator[Tensor]:
        """What the network takes, of one size once padded -> float [C', sh, sw] each, in the network's value range."""
        left = iter(several)
        while batch := list(islice(left, self.batch_size)):
            outputs = self._forward([self._inputs(given) for given in batch])
            yield from map(self._cut, batch, outputs)

    def _cut(self, given: Given, output: Tensor) -> Tensor:
        """A result without what belongs to padding."""
        if self._picture_at is None:
            return output
        (height, width, _), scale = given[self._picture_at].shape, self.descriptor.scale
        return output[:, : height * scale, : width * scale]

    @torch.inference_mode()
    def _forward(self, several: list[tuple[Tensor, ...]]) -> Tensor:
        """A short batch is filled up: the kernels, and so the bytes, never depend on how many came together."""
        filled = several + [several[-1]] * (self.batch_size - len(several))
        batches = [self._batch(each) for each in zip(*filled, strict=True)]
        precise = self.dtype is torch.float32
        with raised_by_network(), torch.autocast(self.device.type, self.dtype, enabled=not precise):
            return self.network(*batches).float()

    def _batch(self, tensors: tuple[Tensor, ...]) -> Tensor:
        batch = torch.stack(tensors) if len(tensors) > 1 else tensors[0][None]
        return batch.contiguous(memory_format=self._layout) if self._layout is not None and batch.dim() == 4 else batch

    @torch.inference_mode()
    def _inputs(self, given: Given) -> tuple[Tensor, ...]:
        """Planes of a number of channels and a size that the network takes, float32 [C', H, W]; numbers as they are."""
        tensors = (
            tensor_of(values, each, self.device, self._buffer_for(values.shape) if place == self._picture_at else None)
            for place, (values, each) in enumerate(zip(given, self._takes, strict=True))
        )
        return tuple(_padded(each[None], self.descriptor)[0] if each.dim() == 3 else each for each in tensors)

    def _buffer_for(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """Memory for one input, used again for the next: by then the result of this one has been taken."""
        if self.device.type != "cpu" or self.batch_size > 1:
            return None
        count = math.prod(shape)
        if self._buffer.size < count:
            self._buffer = np.empty(count, np.float32)
        return self._buffer[:count].reshape(shape)

    def _pixels(self, output: Tensor, like: np.ndarray) -> np.ndarray:
        """float [C, H, W] in the network's value range -> pixels as deep as `like`; NotFiniteError as it may be.

        Grey stays grey where the task keeps colours.
        """
        if like.shape[2] == 1 and self.descriptor.task == "upscale":
            colours = len(output) - (self.descriptor.out_channels in WITH_ALPHA)
            output = torch.cat([output[:colours].mean(dim=0, keepdim=True), output[colours:]])
        return to_pixels(output, *self.descriptor.value_range, like.dtype)

    def _result(self, picture: Picture, pixels: np.ndarray, note: str = "") -> Picture:
        if self.descriptor.out_channels in WITH_ALPHA:
            return picture.with_pixels(np.ascontiguousarray(pixels[..., :-1]), _eight_bits(pixels[..., -1]), note)
        alpha = None if picture.alpha is None else _resized(picture.alpha, pixels.shape[1], pixels.shape[0])
        return picture.with_pixels(pixels, alpha, note)


_NOT_FINITE = InputError("generator", "the network gave values that are not finite (NaN or infinity)")


def _padding(height: int, width: int, descriptor: Descriptor) -> tuple[int, int]:
    """How many pixels are missing at the bottom and right to a size that the network takes."""
    multiple, least = descriptor.size_multiple, descriptor.min_size_px
    down, right = (rounded_up(max(side, least), multiple) - side for side in (height, width))
    return down, right


def _padded(images: Tensor, descriptor: Descriptor) -> Tensor:
    """Padded at the bottom and right to sizes the network takes: mirrored, or by the edge where that is too little."""
    height, width = images.shape[-2:]
    down, right = _padding(height, width, descriptor)
    if not (down or right):
        return images
    mirrored = down < height and right < width
    return F.pad(images, (0, right, 0, down), mode="reflect" if mirrored else "replicate")


def _eight_bits(alpha: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(alpha if alpha.dtype == np.uint8 else (alpha >> 8).astype(np.uint8))


def _resized(alpha: np.ndarray, width: int, height: int) -> np.ndarray:
    if alpha.shape == (height, width):
        return alpha
    return np.asarray(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC))
