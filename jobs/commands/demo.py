"""`recast demo` and `recast sample`: things to try Recast out with."""

from typing import Literal

from recast.jobs.existing import new_folder
from recast.jobs.specs import place


def demo(folder: str = "demo-out", *, local: bool = False) -> int:
    """The whole story on this machine in minutes: draw, train, translate, upscale, verify, report.

    FOLDER must be new, empty, or an earlier demo's, which is emptied.

    Parameters
    ----------
    local
        Use a folder in place of the object store that the demo starts otherwise.
    """
    from recast.jobs import demo

    return demo.run(folder, local=local)


def sample(
    kind: Literal["facades", "faces", "leaves", "photos", "shapes"],
    folder: str,
    *,
    count: int = 400,
    size: int = 256,
    seed: int = 0,
    replace: bool = False,
) -> int:
    """Write a data set for trying things out into FOLDER: facades (photo | labels), faces (scenes and people, with
    tables of their faces), dead leaves, shapes (a folder for each class), real photographs.

    Parameters
    ----------
    count
        Training examples to draw; a tenth as many are held out.
    size
        Side of a drawn picture in pixels.
    seed
        Decides what is drawn.
    replace
        Write into a folder that holds files already.
    """
    from recast.jobs.samples import writing

    new_folder(place(folder), replace=replace)
    return writing.run(kind, place(folder), count=count, size=size, seed=seed)
