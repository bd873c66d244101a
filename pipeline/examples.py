"""Training examples: listed, read and decoded once by Ray Data, kept by the workers, drawn again and again by step."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from models.recipes.recipe import Batch, Recipe
from pipeline import sources
from pipeline.ahead import ahead
from pipeline.decode import decode
from pipeline.faults import Fault
from pipeline.inputs import Input, read
from pipeline.training_plan import TrainingError

MAX_PIXELS = 1 << 28
MAX_FILE_BYTES = 1 << 30
READ_CPUS = 0.25
"""Logical CPUs of a task that reads and decodes; little, so that the workers' claims can't starve it."""
PAIR_FOLDERS = ("A", "B")
"""The two images of a pair: files of one name in these folders."""
BATCHES_AHEAD = 2
TRIED_AT_START = 64
"""Examples that each worker makes before the first step, so that unfit images are refused early."""

Images = tuple[np.ndarray, ...]
"""An example's images, uint8 [H, W, 3] each."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """Where the images of one example lie: one file, or the two files of a pair."""

    key: str
    inputs: tuple[Input, ...]


def listed(url: str, images_per_example: int) -> list[Example]:
    """The examples at a URL, in a fixed order. Pairs are files of one name in `A/` and `B/`, or single files that show
    A and B side by side.

    Raises:
        StorageError: no such place, or no permission.
        TrainingError: there are no images, or the pairs don't match.
    """
    inputs = list(sources.inventory(sources.Source(url=url)))
    folders = {item.key.split("/")[0] for item in inputs if "/" in item.key}
    if images_per_example == 2 and set(PAIR_FOLDERS) <= folders:
        examples = _paired(inputs)
    else:
        examples = [Example(key=item.key, inputs=(item,)) for item in inputs]
    if not examples:
        raise TrainingError(f"there are no images at {url}")
    return examples


def _paired(inputs: Sequence[Input]) -> list[Example]:
    sides: dict[str, dict[str, Input]] = {side: {} for side in PAIR_FOLDERS}
    for item in inputs:
        side, _, name = item.key.partition("/")
        if side in sides:
            sides[side][name.rpartition(".")[0]] = item
    alone = sorted(sides["A"].keys() ^ sides["B"].keys())
    if alone:
        raise TrainingError(f"{alone[0]} is in only one of the folders A and B (and {len(alone) - 1} more)")
    return [Example(key=name, inputs=(item, sides["B"][name])) for name, item in sorted(sides["A"].items())]


def dataset(examples: Sequence[Example], workers: int, images_per_example: int) -> ray.data.Dataset:
    """Rows that hold decoded images, one an example; the first repeat, so that every worker gets equally many."""
    missing = -len(examples) % workers
    padded = [*examples, *(examples[i % len(examples)] for i in range(missing))]
    rows = [{"key": e.key, "inputs": [dataclasses.asdict(item) for item in e.inputs]} for e in padded]
    blocks = min(len(rows), max(4 * workers, len(rows) // 64))
    return ray.data.from_items(rows, override_num_blocks=blocks).map(
        _read_row, fn_kwargs={"images_per_example": images_per_example}, num_cpus=READ_CPUS
    )


def _read_row(row: dict[str, Any], images_per_example: int) -> dict[str, Any]:
    """Decode a row's images; what can't be decoded becomes a row with a problem, for the workers to count."""
    try:
        images = [_decoded(Input(**item)) for item in row["inputs"]]
        if images_per_example == 2 and len(images) == 1:
            images = _halves(images[0])
    except Fault as fault:
        return {"key": row["key"], "shapes": [], "pixels": b"", "problem": str(fault)}
    shapes = [list(image.shape) for image in images]
    return {"key": row["key"], "shapes": shapes, "pixels": b"".join(i.tobytes() for i in images), "problem": ""}


def _decoded(item: Input) -> np.ndarray:
    pixels = decode(read(item, MAX_FILE_BYTES), MAX_PIXELS).pixels
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _halves(image: np.ndarray) -> list[np.ndarray]:
    middle = image.shape[1] // 2
    return [np.ascontiguousarray(image[:, :middle]), np.ascontiguousarray(image[:, middle : 2 * middle])]


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
        try:
            return recipe.example(self.images[index], rng, varied=varied)
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
