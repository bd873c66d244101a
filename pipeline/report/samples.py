"""The fixed sample grid of a training, at a few moments from first to last."""

import io
import re
from dataclasses import dataclass

from PIL import Image

from recast.pipeline.report.embed import Embedded, embed, embed_file
from recast.pipeline.report.output import Output

SAMPLES = "logs/samples"
MOST_GRIDS = 12
MOST_BYTES = 5_000_000
"""All grids of a page together, before base64."""
LONGEST_PX = 4096
GAP_PX = 4
"""Between samples, as models.preview draws grids."""
ROOM_PX = 1056
"""Width of the page's matter."""


@dataclass(frozen=True)
class Grid:
    """Rows of samples, in columns input | output | target, as they were at one step."""

    step: int
    blocks: tuple[Embedded, ...]
    """The grid whole, or a tall one's upper and lower rows, to lie side by side."""


def read_grids(output: Output) -> tuple[Grid, ...]:
    """Grids spread evenly over the steps that have one, the first and the last among them."""
    steps = {int(m[1]): name for name in output.names(SAMPLES, ".png") if (m := re.fullmatch(r"step-(\d+)\.png", name))}
    chosen = _spread(sorted(steps), MOST_GRIDS)
    read = ((step, _read(output, steps[step], MOST_BYTES // len(chosen))) for step in chosen)
    return tuple(Grid(step, blocks) for step, blocks in read if blocks)


def _spread(steps: list[int], wanted: int) -> list[int]:
    if len(steps) <= wanted:
        return steps
    return [steps[round(i * (len(steps) - 1) / (wanted - 1))] for i in range(wanted)]


def _read(output: Output, name: str, affordable_bytes: int) -> tuple[Embedded, ...]:
    """One grid; nothing where the file is gone, half written or absurdly large."""
    try:
        data = output.read(f"{SAMPLES}/{name}")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
            if max(opened.size) > LONGEST_PX:
                return ()
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError):
        return ()
    cut = _cut(*image.size)
    if not cut:
        return (embed_file(data, image, affordable_bytes),)
    halves = (0, 0, image.width, cut - GAP_PX), (0, cut, image.width, image.height)
    return tuple(embed(image.crop(half), affordable_bytes // 2) for half in halves)


def _cut(width: int, height: int) -> int:
    """Where the lower half of a tall grid's rows begins; 0 if the grid isn't tall, or too wide for two blocks."""
    pitch, uneven = divmod(width + GAP_PX, 3)
    rows, cut_off = divmod(height + GAP_PX, pitch)
    if uneven or cut_off or rows < 4 or 2 * width + GAP_PX > ROOM_PX:
        return 0
    return (rows + 1) // 2 * pitch
