"""`recast report`: a page to look at."""

from recast.jobs.existing import new_file
from recast.jobs.exit_status import DONE
from recast.jobs.specs import place


def report(output: str, *, to: str | None = None, source: str | None = None, replace: bool = False) -> int:
    """Write one self-contained HTML page about OUTPUT, a bulk or a training output, and say where it is.

    Parameters
    ----------
    to
        Where to write it; by default report.html in OUTPUT.
    source
        Where the inputs of OUTPUT lie, to show them beside the results. Those of your own runs on this machine are
        shown without it; never those of a de-identification.
    replace
        Write over what is there, be it no page of Recast's; an earlier page is written over in any case.
    """
    from recast.pipeline import report

    where = report.report_place(place(output), place(to) if to else None)
    new_file(where, replace=replace, own=report.is_page)
    print(report.write(place(output), where, source=place(source) if source else None))
    return DONE
