"""The fixed sample grid of a training, at a few moments from first to last."""

import io
import re
from dataclasses import dataclass

from PIL import Image

from pipeline.report.embed import Embedded, embed_file
from pipeline.report.output import Output

SAMPLES = "logs/samples"
MOST_GRIDS = 12
MOST_BYTES = 5_000_000
"""All grids of a page together, before base64."""
LONGEST_PX = 4096


@dataclass(frozen=True)
class Grid:
    """Rows of samples, in columns input | output | target, as they were at one step."""

    step: int
    picture: Embedded


def read_grids(output: Output) -> tuple[Grid, ...]:
    """Grids spread evenly over the steps that have one, the first and the last among them."""
    steps = {int(m[1]): name for name in output.names(SAMPLES, ".png") if (m := re.fullmatch(r"step-(\d+)\.png", name))}
    chosen = _spread(sorted(steps), MOST_GRIDS)
    read = ((step, _read(output, steps[step], MOST_BYTES // len(chosen))) for step in chosen)
    return tuple(Grid(step, picture) for step, picture in read if picture)


def _spread(steps: list[int], wanted: int) -> list[int]:
    if len(steps) <= wanted:
        return steps
    return [steps[round(i * (len(steps) - 1) / (wanted - 1))] for i in range(wanted)]


def _read(output: Output, name: str, affordable_bytes: int) -> Embedded | None:
    """One grid; None where the file is gone, half written or absurdly large."""
    try:
        data = output.read(f"{SAMPLES}/{name}")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if max(image.size) > LONGEST_PX:
                return None
            return embed_file(data, image.convert("RGB"), affordable_bytes)
    except (OSError, SyntaxError, ValueError):
        return None
