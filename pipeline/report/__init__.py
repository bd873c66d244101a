"""One self-contained HTML page about an output: `recast report`, and the audit of a de-identification."""

from recast.pipeline.report.page import render, write, write_audit

__all__ = ["render", "write", "write_audit"]
