"""An output's regions as CSV, in the columns that `--boxes` reads."""

import csv
import json
from typing import IO, Any

from recast.pipeline.regions.box_tables import CORNERS, SIZE
from recast.pipeline.regions.export.annotated import AnnotatedImages, ExportError
from recast.pipeline.regions.export.numbers import shortened, shortest
from recast.pipeline.regions.region import Region

COLUMNS = ("key", *CORNERS, "kind", "score", "category", "track", "points", "mask", *SIZE)


def write_csv(images: AnnotatedImages, file: IO[str]) -> None:
    """A row for each region, and one without coordinates for an image with none.

    Raises:
        ExportError: a key has a line break, at which readers end a row.
    """
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    for image in images:
        if "\n" in image.key or "\r" in image.key:
            raise ExportError(f"the key {image.key!r} has a line break, which no CSV file keeps; use --to coco")
        about = {"key": image.key, **dict(zip(SIZE, image.size or (), strict=False))}
        table.writerows([{**about, **_cells(region)} for region in image.regions] or [about])


def _cells(region: Region) -> dict[str, Any]:
    return {
        **dict(zip(CORNERS, shortened(region.box), strict=True)),
        "kind": region.kind,
        "score": shortest(region.score),
        "category": region.category,
        "track": region.track,
        "points": json.dumps(shortened(region.points)) if region.points else None,
        "mask": region.mask,
    }
