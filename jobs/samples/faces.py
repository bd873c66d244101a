"""Drawn faces: scenes of several with their boxes, and portraits of people seen again and again.

Data to try de-identification on, where every face, every identity and every landmark is known.
"""

import io
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from recast.jobs.samples.face_drawing import Face, Person, View, draw_face
from recast.pipeline import storage
from recast.pipeline.storage import FileSystem

PORTRAITS_PER_SCENE = 4
"""Portraits in the training set for each scene."""
PORTRAITS_OF_EACH = 20
"""How many of the training set's pictures show one person."""
HELD_OUT_SHARE = 0.2
FACES_PER_SCENE = (1, 5)
SCENE_FACE = (0.12, 0.4)
"""Least and greatest height of a face, as a share of the picture's side."""
PORTRAIT_FACE = (0.42, 0.6)
SHAPES_BEHIND = 14
MOST_OVERLAP = 0.25
"""The share of a face that another face of its scene may hide."""
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("box", pa.list_(pa.float32(), 4)),
        ("landmarks", pa.list_(pa.float32(), 10)),
        ("identity", pa.string()),
        ("kind", pa.string()),
    ]
)
"""`landmarks`: x and y of the eyes, the nose and the corners of the mouth, left to right as the picture shows them."""


def write_faces(target: str, *, count: int, seed: int = 0, size_px: int = 256) -> dict[str, int]:
    """Draw `count` training scenes and several times as many portraits of half their size; returns counts by folder.

    `scenes/train`, `scenes/test`, `people/train` and `people/test` hold the pictures (`people` in a folder for each
    identity, the same people in both), and `<folder>.parquet` beside each folder holds its faces.
    """
    fs, root = storage.filesystem(target)
    portraits = count * PORTRAITS_PER_SCENE
    people = max(2, portraits // PORTRAITS_OF_EACH)
    counts = {
        "scenes/train": count,
        "scenes/test": max(1, round(count * HELD_OUT_SHARE)),
        "people/train": portraits,
        "people/test": max(4 * people, round(portraits * HELD_OUT_SHARE)),
    }
    with storage.faults_as_sentences(f"writing {target}"):
        for number, (folder, wanted) in enumerate(counts.items()):
            draw = _scenes if folder.startswith("scenes") else _portraits
            side = size_px if folder.startswith("scenes") else size_px // 2
            _write(fs, storage.join(root, folder), draw(wanted, people, seed, number, side))
    return counts


Drawn = tuple[str, np.ndarray, list[dict[str, Any]]]
"""A picture's key, its pixels and the rows of its faces."""


def _write(fs: FileSystem, folder: str, drawings: Iterable[Drawn]) -> None:
    rows: list[dict[str, Any]] = []
    for key, pixels, faces in drawings:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
        storage.write_bytes(fs, storage.join(folder, key), buffer.getvalue())
        rows += faces
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), table)
    storage.write_bytes(fs, f"{folder}.parquet", table.getvalue())


def _scenes(count: int, people: int, seed: int, part: int, side: int) -> Iterator[Drawn]:
    """Pictures of some of the people, and of strangers."""
    for n in range(count):
        random = np.random.default_rng([seed, part, n])
        pixels = ground(random, side)
        views = [
            View.drawn(random, side, SCENE_FACE)
            for _ in range(int(random.integers(FACES_PER_SCENE[0], FACES_PER_SCENE[1] + 1)))
        ]
        placed: list[tuple[str, Face]] = []
        for view in sorted(views, key=lambda view: view.y):  # shoulders hide what is lower, and that is drawn later
            who = int(random.integers(2 * people))
            if not any(_hidden(view, face) for _, face in placed):
                placed.append((identity(who), draw_face(pixels, person(seed, who), view, random)))
        key = f"scene-{n:05d}.png"
        yield key, pixels, [_row(key, who, face) for who, face in placed]


def _portraits(count: int, people: int, seed: int, part: int, side: int) -> Iterator[Drawn]:
    for n in range(count):
        random = np.random.default_rng([seed, part, n])
        pixels, who = ground(random, side), n % people
        face = draw_face(pixels, person(seed, who), View.drawn(random, side, PORTRAIT_FACE, middle=True), random)
        key = f"{identity(who)}/{n // people:05d}.png"
        yield key, pixels, [_row(key, identity(who), face)]


def identity(number: int) -> str:
    return f"person-{number:05d}"


def person(seed: int, number: int) -> Person:
    """The same one whenever they are asked for."""
    return Person.drawn(np.random.default_rng([seed, 1_000_003, number]))


def ground(random: np.random.Generator, side: int) -> np.ndarray:
    """What stands behind faces, uint8 [side, side, 3]: a shaded wall, and things that are none."""
    one, other = random.integers(0, 256, (2, 3)).astype(np.float32)
    share = np.linspace(0, 1, side, dtype=np.float32)[:, None, None] * np.ones((1, side, 1), np.float32)
    if random.random() < 0.5:
        share = share.transpose(1, 0, 2)
    pixels = np.ascontiguousarray((one + (other - one) * share).astype(np.uint8))
    for _ in range(int(random.integers(SHAPES_BEHIND))):
        colour = tuple(int(c) for c in random.integers(0, 256, 3))
        x, y = (int(v) for v in random.integers(0, side, 2))
        across, down = (int(v) for v in random.integers(side // 40 + 1, side // 5, 2))
        if random.random() < 0.5:
            cv2.ellipse(pixels, (x, y), (across, down), float(random.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(pixels, (x, y), (x + across, y + down), colour, -1, cv2.LINE_AA)
    return pixels


def _hidden(view: View, face: Face) -> bool:
    """Whether a face drawn here would hide too much of one that is there."""
    half = view.height_px / 2
    left, top = max(view.x - half, face.box[0]), max(view.y - half, face.box[1])
    right, bottom = min(view.x + half, face.box[2]), min(view.y + half, face.box[3])
    area = (face.box[2] - face.box[0]) * (face.box[3] - face.box[1])
    return max(0.0, right - left) * max(0.0, bottom - top) > MOST_OVERLAP * area


def _row(key: str, who: str, face: Face) -> dict[str, Any]:
    return {"key": key, "box": face.box, "landmarks": face.landmarks, "identity": who, "kind": "face"}
