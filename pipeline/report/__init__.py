"""One self-contained HTML page about an output: `recast report`."""

from pipeline.report.page import render, write

__all__ = ["render", "write"]
