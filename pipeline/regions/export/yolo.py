"""An output's boxes as the folder of labels that YOLO is trained on.

`labels/KEY.txt`, with `.txt` in place of the image's ending, has a line `CLASS X Y WIDTH HEIGHT` for each box: its
middle and its size as shares of the image's sides. `data.yaml` has the names of the classes, which are numbered from 0.
"""

import json
import os.path
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from recast.pipeline import storage
from recast.pipeline.ahead import ahead
from recast.pipeline.output.file_names import name_problem
from recast.pipeline.regions.export.annotated import AnnotatedImage, AnnotatedImages, ExportError
from recast.pipeline.storage import FileSystem

WRITERS = 8


def write_yolo(images: AnnotatedImages, fs: FileSystem, folder: str) -> None:
    """The labels of all images, and the names of the classes last.

    Raises:
        ExportError: an image's size is not known, or two images would have one file of labels.
    """
    _check_names(images, folder)
    classes = {name: number for number, name in enumerate(sorted({name for name, _ in images.kinds}))}
    with ThreadPoolExecutor(WRITERS) as pool:

        def write(image: AnnotatedImage) -> None:
            path = storage.join(folder, "labels", *_label_file(image.key).split("/"))
            storage.write_bytes(fs, path, "".join(_lines(image, classes)).encode())

        for _ in ahead(write, iter(images), pool, 2 * WRITERS):
            pass
    names = "".join(f"  {number}: {json.dumps(name)}\n" for name, number in classes.items())
    storage.write_bytes(fs, storage.join(folder, "data.yaml"), f"names:{' {}' if not names else ''}\n{names}".encode())


def _label_file(key: str) -> str:
    return f"{os.path.splitext(key)[0]}.txt"


def _check_names(images: AnnotatedImages, folder: str) -> None:
    known: dict[str, str] = {}
    for batch in images.images.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            key, file = row["key"], _label_file(row["key"])
            if not row["source_width"] or not row["source_height"]:
                raise ExportError(f"the size of {key} is not known, and YOLO's boxes are shares of it; use --to coco")
            if problem := name_problem(file, folder):
                raise ExportError(f"{key} can have no file of labels: {problem.partition(': ')[2]}")
            if (other := known.setdefault(file, key)) != key:
                raise ExportError(f"{other} and {key} would both have the labels {file}; use --to coco")


def _lines(image: AnnotatedImage, classes: dict[str, int]) -> Iterator[str]:
    height, width = image.size or (1, 1)
    for region in image.regions:
        left, right = (min(max(side / width, 0.0), 1.0) for side in region.box[::2])
        top, bottom = (min(max(side / height, 0.0), 1.0) for side in region.box[1::2])
        shares = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        if min(shares[2:]) > 0:
            yield " ".join([str(classes[region.kind]), *(f"{share:.6f}" for share in shares)]) + "\n"
