"""`recast demo` and `recast sample`: things to try Recast out with."""

from typing import Annotated, Literal

from cyclopts import Parameter

from recast.jobs.existing import new_folder
from recast.jobs.specs import place


def demo(
    folder: Annotated[
        str,
        Parameter(help="A new or empty folder for all that the demo makes; a folder of an earlier demo is emptied."),
    ] = "demo-out",
    *,
    local: bool = False,
) -> int:
    """Run the whole story on this machine in minutes: draw, train, translate, upscale, verify, report.

    Example: `recast demo demo-out --local`

    Parameters
    ----------
    local
        Use a plain folder; otherwise the demo starts an object store of its own.
    """
    from recast.jobs import demo

    return demo.run(folder, local=local)


def sample(
    kind: Annotated[
        Literal["facades", "faces", "leaves", "photos", "shapes", "street"],
        Parameter(
            help="facades: photographs and label maps side by side; faces: scenes and people, with tables of their "
            "faces; leaves: overlapping shapes (dead leaves); photos: photographs; shapes: a folder for each class; "
            "street: people, cars and plates, with masks, keypoints and boxes."
        ),
    ],
    folder: Annotated[str, Parameter(help="Where the data set goes, a local folder or any fsspec URL.")],
    *,
    count: int = 400,
    size: int = 256,
    seed: int = 0,
    replace: bool = False,
) -> int:
    """Write a data set for trying things out into FOLDER.

    Example: `recast sample facades facades/ --count 100`

    Parameters
    ----------
    count
        Number of training examples to draw; a tenth as many are held out.
    size
        Side of a drawn picture in pixels.
    seed
        A number that decides what is drawn.
    replace
        Write into FOLDER even if it holds files already.
    """
    from recast.jobs.samples import writing

    new_folder(place(folder), replace=replace)
    return writing.run(kind, place(folder), count=count, size=size, seed=seed)
