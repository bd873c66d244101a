"""A handful of tiny images on the store, and jobs over them that take milliseconds."""

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operation, Operator, Result
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.deidentify.operation import deidentifying
from recast.pipeline.deidentify.restoration import restoring
from recast.pipeline.deidentify.secrets.seal import Secret
from recast.pipeline.deidentify.settings import Deidentification
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.perception.annotator import Annotator
from recast.pipeline.perception.drawing import Drawing
from recast.pipeline.regions.detectors import FACE
from recast.pipeline.regions.region import Region
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import Source
from tests.pipeline.protocol.store import PROTOCOL, Bucket

SOURCE, OUTPUT, BACK, BOXES = (f"{PROTOCOL}://b/{name}" for name in ("in", "out", "back", "boxes.json"))
FILES = ("a.png", "b.png", "c.png", "d/e.png")
PACKED = ("f.png", "g.png")
SIZE = (12, 10)
BOX = [2, 2, 7, 6]
PASSCODE, OTHER_PASSCODE = Secret(b"correct horse"), Secret(b"battery staple")


def image(seed: object) -> bytes:
    """A PNG of noise, another one for each seed; those of a name with b stand upright."""
    dice = np.random.default_rng(list(str(seed).encode()))
    width, height = SIZE[::-1] if str(seed).startswith("b") else SIZE
    data = io.BytesIO()
    Image.fromarray(dice.integers(0, 255, (height, width, 3), np.uint8)).save(data, "png")
    return data.getvalue()


def packed(names: Sequence[str]) -> bytes:
    """A tar of images."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(image(name))
            tar.addfile(info, io.BytesIO(image(name)))
    return data.getvalue()


def put_source(bucket: Bucket) -> None:
    """Four files, one of them in a folder, one that is no image, and a tar of two; boxes for all of them."""
    for name in FILES:
        bucket.put(f"b/in/{name}", image(name))
    bucket.put("b/in/broken.png", b"no image")
    bucket.put("b/in/p.tar", packed(PACKED))
    keys = [*FILES, "broken.png", *(f"p.tar/{name}" for name in PACKED)]
    bucket.put("b/boxes.json", json.dumps({key: [BOX] for key in keys}).encode())


@dataclass(frozen=True)
class Shade(Operator):
    """A generator of one number: what it takes from white. No network, and another result for another number."""

    by: int
    failing: frozenset[str] = frozenset()
    """Keys that it can't do."""

    def operator(self, settings: WorkerSettings) -> "Shade":
        return self

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        return [self._shaded(picture, item) for picture, item in zip(pictures, items, strict=True)]

    def _shaded(self, picture: Picture, item: Input) -> Result | InputError:
        if item.key in self.failing:
            return InputError("generator", "it was told to fail")
        return Result(picture=picture.with_pixels(255 - self.by - picture.pixels // 2, None))


def shading(by: int = 0, failing: Sequence[str] = ()) -> Operation:
    """The maker of shades; what fails is no part of its digest, as chance isn't."""
    digest = "sha256:" + hashlib.sha256(str(by).encode()).hexdigest()[:16]
    return Operation(f"shade {by}", digest, "", lambda: Shade(by, frozenset(failing)))


def job(**changes: object) -> BulkJob:
    """A job over the archive, on what stands in for Ray (`simulation.OneWorker`); two images a shard, so that there are
    several."""
    source = Source(urls=(SOURCE,), skip=OUTPUT)
    facts = {"job": "translate", "source": source, "output": OUTPUT, "shard_images": 2, "actors": 1, "on": "ray"}
    return BulkJob(**{**facts, **changes})


def deidentification(*, hidden: bool = False, **changes: object) -> tuple[BulkJob, Operation]:
    """A job that blackens a box of every image and seals what was there. Called anew by each process that runs it."""
    asked = Deidentification(detectors=("none",), boxes=BOXES, seal=True, names="hmac" if hidden else "plain")
    made = dataclasses.replace(job(job="deidentify", **changes), making=asked.deciding())
    return made, deidentifying(asked, OUTPUT, PASSCODE)


class Sums:
    """A detector whose box and score follow from all values of an image; it finds nothing in one of three."""

    name, kinds = "sums", (FACE,)

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        return [self._found(int(image.astype(np.int64).sum())) for image in images]

    def _found(self, total: int) -> list[Region]:
        box = (1.0, 2.0, 3.0 + total % 7, 9.0)
        found = Region(kind=FACE, box=box, score=total % 11 / 11, detector=self.name)
        return [found] if total % 3 else []


@dataclass(frozen=True)
class Watcher:
    """What annotates by that detector."""

    draw: Drawing | None

    def operator(self, settings: WorkerSettings) -> Annotator:
        return Annotator(detectors=(Sums(),), draw=self.draw)


def annotation(draw: Drawing | None = None, **changes: object) -> tuple[BulkJob, Operation]:
    """A job whose results are rows; with pictures, where they are asked for."""
    made = dataclasses.replace(job(job="annotate", **changes), making={"draw": draw})
    return made, Operation("sums", "sha256:5fb0e2c1d4a39678", "", lambda: Watcher(draw))


def restoration(passcode: Secret = PASSCODE) -> tuple[BulkJob, Operation]:
    """The job that brings the sealed originals back, into an output of its own."""
    made = job(job="restore", source=Source(urls=(OUTPUT,), skip=BACK), output=BACK)
    return made, restoring(OUTPUT, passcode)
