"""One worker's training examples: kept decoded in memory, and drawn again and again by step."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.recipes.recipe import Batch, Recipe
from pipeline.ahead import ahead
from pipeline.training.plan import TrainingError

BATCHES_AHEAD = 2
TRIED_AT_START = 64
"""Examples that each worker makes before the first step, so that unfit images are refused early."""

Images = tuple[np.ndarray, ...]
"""An example's images, uint8 [H, W, 3] each."""


class Shard:
    """One worker's examples, decoded and resident."""

    def __init__(self, rows: Iterable[dict[str, Any]], cache_bytes: int) -> None:
        self.images: list[Images] = []
        self.keys: list[str] = []
        self.unreadable: list[str] = []
        held = 0
        for row in rows:
            if row["problem"]:
                self.unreadable.append(f"{row['key']}: {row['problem']}")
                continue
            held += len(row["pixels"])
            if held > cache_bytes:
                raise TrainingError(
                    f"the data need more than {cache_bytes >> 20:,} MiB of memory in each worker; "
                    "train on fewer or smaller images, with more workers, or raise cache_bytes"
                )
            self.keys.append(row["key"])
            self.images.append(tuple(_unpacked(row["pixels"], row["shapes"])))
        if not self.images:
            raise TrainingError(f"none of a worker's images can be read: {'; '.join(self.unreadable[:3])}")

    def try_out(self, recipe: Recipe) -> None:
        """Raises TrainingError if the recipe can't use one of the first images."""
        for index in range(min(len(self.images), TRIED_AT_START)):
            self.example(recipe, index, np.random.default_rng(0))

    def example(
        self, recipe: Recipe, index: int, rng: np.random.Generator, *, varied: bool = True
    ) -> dict[str, Tensor]:
        """An example made from the images of that index. Raises TrainingError where they don't suit the recipe."""
        images = self.images[index]
        if varied and not recipe.paired:
            images = (images[0], self.images[int(rng.integers(len(self.images)))][1])
        try:
            return recipe.example(images, rng, varied=varied)
        except ValueError as fault:
            raise TrainingError(f"can't train on {self.keys[index]}: {fault}") from fault


def _unpacked(pixels: bytes, shapes: Iterable[Sequence[int]]) -> Iterator[np.ndarray]:
    start = 0
    for shape in shapes:
        size = int(np.prod(shape))
        yield np.frombuffer(pixels, np.uint8, size, start).reshape(tuple(int(n) for n in shape))
        start += size


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Which examples a worker sees at which step. All randomness follows from (seed, step, rank), so a resumed
    training sees what an undisturbed one would have."""

    shard: Shard
    recipe: Recipe
    seed: int
    rank: int
    batch_size: int
    """Of this worker."""

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps `start` to `stop`, made a little ahead of time."""
        with ThreadPoolExecutor(1, "batches") as pool:
            yield from ahead(self.batch, range(start, stop), pool, BATCHES_AHEAD)

    def batch(self, step: int) -> Batch:
        examples = [self._example(step, step * self.batch_size + i) for i in range(self.batch_size)]
        return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}

    def _example(self, step: int, position: int) -> dict[str, Tensor]:
        """The example at a position in the endless sequence of shuffled epochs."""
        epoch, place = divmod(position, len(self.shard.images))
        order = np.random.default_rng([self.seed, self.rank, epoch]).permutation(len(self.shard.images))
        index, rng = int(order[place]), np.random.default_rng([self.seed, self.rank, epoch, place])
        return self.shard.example(self.recipe, index, rng)


def fixed_samples(recipe: Recipe, shard: Shard, rows: int) -> Batch:
    """The same few examples at every checkpoint, and after every restart."""
    examples = []
    for row in range(rows):
        index = row * len(shard.images) // rows
        examples.append(shard.example(recipe, index, np.random.default_rng(row), varied=False))
    return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
