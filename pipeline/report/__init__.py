"""One self-contained HTML page about an output: `recast report`, and the audit of a de-identification."""

from recast.pipeline.report.audit import is_unsigned
from recast.pipeline.report.page import audit_places, is_page, render, report_place, write, write_audit

__all__ = ["audit_places", "is_page", "is_unsigned", "render", "report_place", "write", "write_audit"]
