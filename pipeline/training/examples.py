"""One worker's training examples: read once, kept decoded, and drawn again and again by step."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recast.models.recipes.phases import Batch
from recast.models.recipes.recipe import RawExample, Recipe
from recast.pipeline.ahead import ahead
from recast.pipeline.training.settings import TrainingError
from recast.pipeline.training.things import silhouettes

BATCHES_AHEAD = 2
TRIED_AT_START = 64
"""Examples that each worker makes before the first step, so that unfit images are refused early."""
FREE_DISK_SHARE = 0.9
"""The share of the scratch disk's free space that examples may fill."""

Images = tuple[np.ndarray, ...]
"""An example's images, uint8 [H, W, 3] each."""


class _Place(NamedTuple):
    """Where an example's pixels lie in the scratch file."""

    offset: int
    size: int
    shapes: tuple[tuple[int, ...], ...]


class ExampleCache:
    """One worker's examples, decoded: in memory as far as it goes, the others in a scratch file on the local disk."""

    def __init__(
        self,
        rows: Iterable[dict[str, Any]],
        cache_bytes: int,
        *,
        region_columns: int = 0,
        with_masks: bool = False,
        with_labels: bool = False,
    ) -> None:
        """`region_columns`: numbers that annotations say of each region, 0 without any; `with_masks`: things have
        masks; `with_labels`: examples have classes."""
        self._regions: list[np.ndarray] | None = [] if region_columns else None
        self._masks: list[list[str]] | None = [] if with_masks else None
        self._labels: list[int] | None = [] if with_labels else None
        self.keys: list[str] = []
        self.unreadable: list[str] = []
        self.unfit: list[str] = []
        """Images that should show two side by side and don't."""
        self.notes: Counter[str] = Counter()
        """What one should know of images, each with the number of examples that it is true of."""
        self._kept: list[Images | _Place] = []
        self._scratch = tempfile.TemporaryFile(prefix="recast-examples-")  # noqa: SIM115  # open as long as the shard
        free = shutil.disk_usage(tempfile.gettempdir()).free * FREE_DISK_SHARE
        held = 0
        for row in rows:
            if row["problem"]:
                self.unreadable.append(f"{row['key']}: {row['problem']}")
                continue
            self.unfit += [row["unfit"]] if row["unfit"] else []
            self.notes.update(row["notes"])
            self.keys.append(row["key"])
            if self._labels is not None:
                self._labels.append(int(row["label"]))
            if self._regions is not None:
                self._regions.append(np.frombuffer(row["regions"], np.float32).reshape(-1, region_columns))
            if self._masks is not None:
                self._masks.append(row["masks"].split())
            shapes = tuple(tuple(int(n) for n in shape) for shape in row["shapes"])
            held += len(row["pixels"])
            if held <= cache_bytes:
                self._kept.append(tuple(_unpacked(row["pixels"], shapes)))
            else:
                self._kept.append(self._put_aside(row["pixels"], shapes, free))
        self._scratch.flush()
        if not self._kept:
            raise TrainingError(f"none of a worker's images can be read: {'; '.join(self.unreadable[:3])}")

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> RawExample:
        images = self._images(index)
        regions = None if self._regions is None else self._regions[index]
        return RawExample(
            images=images,
            regions=regions,
            label=None if self._labels is None else self._labels[index],
            masks=None
            if self._masks is None or regions is None
            else silhouettes(regions, self._masks[index], images[0].shape),
        )

    def _images(self, index: int) -> Images:
        kept = self._kept[index]
        if not isinstance(kept, _Place):
            return kept
        return tuple(_unpacked(os.pread(self._scratch.fileno(), kept.size, kept.offset), kept.shapes))

    def _put_aside(self, pixels: bytes, shapes: tuple[tuple[int, ...], ...], free: float) -> _Place:
        offset = self._scratch.tell()
        if offset + len(pixels) > free:
            raise TrainingError(
                f"the decoded images fill memory (cache_bytes) and the free space of {tempfile.gettempdir()}; train on "
                "fewer or smaller images, with more workers, or point TMPDIR to a larger disk"
            )
        self._scratch.write(pixels)
        return _Place(offset, len(pixels), shapes)

    def try_out(self, recipe: Recipe) -> None:
        """Raises TrainingError if the recipe can't use one of the first images."""
        for index in range(min(len(self), TRIED_AT_START)):
            self.example(recipe, index, np.random.default_rng(0))

    def example(
        self, recipe: Recipe, index: int, rng: np.random.Generator, *, augment: bool = True
    ) -> dict[str, Tensor]:
        """An example made from the images of that index. Raises TrainingError where they don't suit the recipe."""
        raw = self[index]
        if augment and not recipe.paired:
            raw = raw._replace(images=(raw.images[0], self._images(int(rng.integers(len(self))))[1]))
        try:
            return recipe.example(raw, rng, augment=augment)
        except ValueError as fault:
            raise TrainingError(f"can't train on {self.keys[index]}: {fault}") from fault


def _unpacked(pixels: bytes, shapes: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """Raises TrainingError for pixels that are of another kind than one byte a value."""
    start, wanted = 0, sum(int(np.prod(shape)) for shape in shapes)
    if len(pixels) != wanted:
        raise TrainingError(f"an example has {len(pixels):,} bytes where its images have {wanted:,}")
    for shape in shapes:
        size = int(np.prod(shape))
        yield np.frombuffer(pixels, np.uint8, size, start).reshape(shape)
        start += size


@dataclass(frozen=True, kw_only=True)
class ExampleSampler:
    """Which examples a worker sees at which step. All randomness follows from (seed, step, rank), so a resumed
    training sees what an undisturbed one would have."""

    shard: ExampleCache
    recipe: Recipe
    seed: int
    rank: int
    batch_size: int
    """Examples that this worker takes in a step."""

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps `start` to `stop`, made a little ahead of time."""
        with ThreadPoolExecutor(1, "batches") as pool:
            yield from ahead(self.batch, range(start, stop), pool, BATCHES_AHEAD)

    def batch(self, step: int) -> Batch:
        return _stacked([self._example(step * self.batch_size + n) for n in range(self.batch_size)])

    def _example(self, position: int) -> dict[str, Tensor]:
        """The example at a position in the endless sequence of shuffled epochs."""
        epoch, place = divmod(position, len(self.shard))
        order = np.random.default_rng([self.seed, self.rank, epoch]).permutation(len(self.shard))
        index, rng = int(order[place]), np.random.default_rng([self.seed, self.rank, epoch, place])
        return self.shard.example(self.recipe, index, rng)


def spread(shard: ExampleCache, rows: int) -> list[int]:
    """The indices of a few examples, from the first to the last; the same after every restart."""
    return [row * len(shard) // rows for row in range(rows)]


def fixed_samples(recipe: Recipe, shard: ExampleCache, indices: Sequence[int]) -> Batch:
    """The examples of those indices as they are at every checkpoint, and after every restart."""
    return _stacked(
        [shard.example(recipe, index, np.random.default_rng(row), augment=False) for row, index in enumerate(indices)]
    )


def _stacked(examples: Sequence[dict[str, Tensor]]) -> Batch:
    return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
