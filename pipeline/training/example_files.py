"""Training examples where they lie: listed, paired, and read and decoded once by Ray Data. Free of torch, for speed."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from recast.models.faces import FACE_COLUMNS
from recast.pipeline.deidentify.detection.brought import Brought
from recast.pipeline.deidentify.regions import Region
from recast.pipeline.images import parquet, sources
from recast.pipeline.images.contents import read
from recast.pipeline.images.decode import decode
from recast.pipeline.images.faults import Fault
from recast.pipeline.images.inputs import Input
from recast.pipeline.training.plan import TrainingError

MAX_PIXELS = 1 << 28
MAX_FILE_BYTES = 1 << 30
AROUND = 3.0
"""Of an image of which one face is an example, the square around it that is kept, in longer sides of the face's box."""
READ_CPUS = 0.25
"""Logical CPUs of a task that reads and decodes; little, so that the workers' claims can't starve it."""
LEAST_BLOCKS = 16
"""Of the data set, so that reading spreads over the cluster."""
PAIR_FOLDERS = ("A", "B")
"""The two images of a pair: files of one name in these folders."""
DOMAIN_FOLDERS = (("A", "B"), ("trainA", "trainB"))
"""The two domains of unpaired data."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """Where the images of one example lie: one file, or the two files of a pair."""

    key: str
    inputs: tuple[Input, ...]
    label: str = ""
    """Its class, where examples have classes."""
    faces: tuple[Region, ...] | None = None
    """What a table says of its image; None where there is no table."""


def listed(url: str, images_per_example: int, *, paired: bool = True, labelled: bool = False) -> list[Example]:
    """The examples at a URL, in a fixed order.

    Pairs are files of one name in `A/` and `B/`, rows of a Parquet file with two columns of images, or single files
    that show A and B side by side. Unpaired, `A/` and `B/` (or `trainA/` and `trainB/`) hold the images of two domains.
    Labelled, each folder is a class.

    Raises:
        StorageError: no such place, or no permission.
        TrainingError: there are no images, or the pairs don't match.
    """
    inputs = list(sources.inventory(sources.Source(urls=(url,))))
    if not inputs:
        raise TrainingError(f"there are no images at {url}")
    if labelled:
        return _labelled(inputs, url)
    if not paired:
        return _unpaired(inputs, url)
    folders = {item.key.split("/")[0] for item in inputs if "/" in item.key}
    if images_per_example == 2 and set(PAIR_FOLDERS) <= folders:
        return _paired(inputs)
    if images_per_example == 2 and inputs[0].packing == "parquet":
        return _columns(inputs)
    return [Example(key=item.key, inputs=(item,)) for item in inputs]


def listed_faces(url: str, table: Brought, *, each: bool, labelled: bool = False) -> list[Example]:
    """The examples at a URL whose faces a table knows: one a face, or one an image with all its faces (or none).

    Labelled, each identity is a class.

    Raises:
        StorageError: no such place, or no permission.
        TrainingError: the table and the images have no key in common, or an identity is missing.
    """
    inputs = list(sources.inventory(sources.Source(urls=(url,))))
    if not any(table.of(item.key) for item in inputs):
        raise TrainingError(f"no face of the table belongs to an image at {url}; its keys are paths relative to that")
    if not each:
        return [Example(key=item.key, inputs=(item,), faces=tuple(table.of(item.key))) for item in inputs]
    found = [
        Example(key=f"{item.key} ({n})" if n else item.key, inputs=(item,), label=face.identity, faces=(face,))
        for item in inputs
        for n, face in enumerate(table.of(item.key))
    ]
    nameless = next((example.key for example in found if labelled and not example.label), None)
    if nameless is not None:
        raise TrainingError(f"the table of faces gives no identity for {nameless}, and this training learns identities")
    return found


def _labelled(inputs: Sequence[Input], url: str) -> list[Example]:
    loose = next((item.key for item in inputs if "/" not in item.key), None)
    if loose is not None:
        raise TrainingError(f"{loose} is in no folder of {url}; a training with classes wants a folder for each")
    return [Example(key=item.key, inputs=(item,), label=item.key.split("/")[0]) for item in inputs]


def _columns(inputs: Sequence[Input]) -> list[Example]:
    """Pairs of a row's images; side by side in one image, if there is only one column of them."""
    columns = {holder: parquet.pair_columns(holder) for holder in dict.fromkeys(item.holder for item in inputs)}
    return [
        Example(key=item.key, inputs=tuple(dataclasses.replace(item, column=c) for c in columns[item.holder]))
        for item in inputs
    ]


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


def _unpaired(inputs: Sequence[Input], url: str) -> list[Example]:
    """As many examples as the larger domain has images; the other's come round again."""
    for names in DOMAIN_FOLDERS:
        a, b = ([item for item in inputs if item.key.startswith(f"{name}/")] for name in names)
        if a and b:
            count = max(len(a), len(b))
            both = ((a[n % len(a)], b[n % len(b)]) for n in range(count))
            return [Example(key=f"{x.key} and {y.key}", inputs=(x, y)) for x, y in both]
    raise TrainingError(f"unpaired training wants images in the folders A and B (or trainA and trainB) of {url}")


def classes(examples: Sequence[Example]) -> tuple[str, ...]:
    """The names of the examples' classes, in the order of their labels."""
    return tuple(sorted({example.label for example in examples}))


def dataset(
    examples: Sequence[Example], multiple: int, images_per_example: int, *, each_face: bool = False
) -> ray.data.Dataset:
    """Rows that hold decoded images, one an example; the first repeat up to a multiple of so many, so that workers get
    equally many each."""
    missing = -len(examples) % multiple
    named = rows([*examples, *(examples[i % len(examples)] for i in range(missing))])
    blocks = min(len(named), max(LEAST_BLOCKS, len(named) // 64))
    return ray.data.from_items(named, override_num_blocks=blocks).map(
        read_row, fn_kwargs={"images_per_example": images_per_example, "each_face": each_face}, num_cpus=READ_CPUS
    )


def rows(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """What `read_row` reads, one an example; labels are numbered over all of them."""
    labels = {name: number for number, name in enumerate(classes(examples))}
    return [
        {
            "key": e.key,
            "label": labels[e.label],
            "inputs": [dataclasses.asdict(item) for item in e.inputs],
            "faces": face_rows(e.faces or ()).tobytes(),
        }
        for e in examples
    ]


def read_row(row: dict[str, Any], images_per_example: int, each_face: bool = False) -> dict[str, Any]:
    """Decode a row's images; what can't be decoded becomes a row with a problem, for the workers to count."""
    try:
        images = [_decoded(Input(**item)) for item in row["inputs"]]
        if images_per_example == 2 and len(images) == 1:
            images = _halves(images[0])
    except Fault as fault:
        return {**_named(row), "shapes": [], "pixels": b"", "problem": str(fault)}
    faces = np.frombuffer(row["faces"], np.float32).reshape(-1, FACE_COLUMNS)
    if each_face:
        images[0], faces = _around(images[0], faces)
    shapes = [list(image.shape) for image in images]
    pixels = b"".join(image.tobytes() for image in images)
    return {**_named(row), "faces": faces.tobytes(), "shapes": shapes, "pixels": pixels, "problem": ""}


def face_rows(faces: Sequence[Region]) -> np.ndarray:
    """Boxes and landmarks, float32 [N, FACE_COLUMNS], NaN where landmarks aren't known."""
    rows = np.full((len(faces), FACE_COLUMNS), np.nan, np.float32)
    for row, face in zip(rows, faces, strict=True):
        row[:4] = face.box
        row[4 : 4 + len(face.landmarks)] = face.landmarks
    return rows


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("key", "label", "faces")}


def _around(image: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image around its one face, and the face where it now lies: all that is worth keeping."""
    box = faces[0, :4]
    reach = AROUND / 2 * max(box[2] - box[0], box[3] - box[1])
    x, y = (box[:2] + box[2:]) / 2
    height, width = image.shape[:2]
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    part = image[top : max(top + 1, min(height, int(y + reach))), left : max(left + 1, min(width, int(x + reach)))]
    corner = np.tile(np.array([left, top], np.float32), FACE_COLUMNS // 2)
    return np.ascontiguousarray(part), faces - corner


def _decoded(item: Input) -> np.ndarray:
    pixels = decode(read(item, MAX_FILE_BYTES), MAX_PIXELS).pixels
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _halves(image: np.ndarray) -> list[np.ndarray]:
    middle = image.shape[1] // 2
    return [np.ascontiguousarray(image[:, :middle]), np.ascontiguousarray(image[:, middle : 2 * middle])]
