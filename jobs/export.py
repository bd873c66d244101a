"""`recast index export`: what was found in an output's images, as files for other programs."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Literal

from recast.jobs.exit_status import DONE
from recast.pipeline import events, storage
from recast.pipeline.reasons import plural
from recast.pipeline.regions.export.annotated import AnnotatedImages
from recast.pipeline.regions.export.coco import read_truth, write_annotations, write_results
from recast.pipeline.regions.export.tables import write_csv
from recast.pipeline.regions.export.yolo import write_yolo


def export(output: str, target: str, to: Literal["coco", "csv", "yolo"], truth: str | None) -> int:
    """Write the regions of an output; what is left out is said."""
    known = read_truth(truth) if truth else None
    images, left_out = AnnotatedImages(output), ""
    if to == "yolo":
        with storage.faults_as_sentences(f"writing {target}"):
            write_yolo(images, *storage.filesystem(target))
    else:
        with _written_whole(target) as file:
            if to == "csv":
                write_csv(images, file)
            elif known:
                left_out = write_results(images, file, known)
            else:
                write_annotations(images, file)
    events.show(f"{target}: {plural(len(images), 'image')}")
    if left_out := ", ".join(filter(None, (images.said(), left_out))):
        events.say(f"left out: {left_out}")
    return DONE


@contextmanager
def _written_whole(target: str) -> Iterator[IO[str]]:
    """A text file that comes to its place when it is finished, and else not at all."""
    with tempfile.TemporaryDirectory(prefix="recast-export-") as folder:
        local = os.path.join(folder, "export")
        with open(local, "w", encoding="utf-8", newline="") as file:
            yield file
        fs, path = storage.filesystem(target)
        with storage.faults_as_sentences(f"writing {target}"):
            storage.upload(fs, local, path)
