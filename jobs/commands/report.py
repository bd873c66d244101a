"""`recast report`: a page to look at."""

from typing import Annotated

from cyclopts import Parameter

from recast.jobs.existing import new_file
from recast.jobs.exit_status import DONE
from recast.jobs.specs import place


def report(
    output: Annotated[str, Parameter(help="The output of a bulk job or a training, a local folder or any fsspec URL.")],
    *,
    to: str | None = None,
    source: str | None = None,
    replace: bool = False,
) -> int:
    """Write one self-contained HTML page about OUTPUT, and print its place.

    Example: `recast report upscaled/ --to upscaled.html`

    Parameters
    ----------
    to
        Where the page goes; by default report.html in OUTPUT.
    source
        Where the inputs of OUTPUT lie, to show them beside the results. The inputs of your own runs on this machine
        are shown without it, those of a de-identification never.
    replace
        Overwrite any file that is there; an earlier page is always overwritten.
    """
    from recast.pipeline import report

    where = report.report_place(place(output), place(to) if to else None)
    new_file(where, replace=replace, own=report.is_page)
    print(report.write(place(output), where, source=place(source) if source else None))
    return DONE
