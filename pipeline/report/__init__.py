"""One self-contained HTML page about an output: `recast report`, and the audit of a de-identification."""

from recast.pipeline.report.audit import is_unsigned
from recast.pipeline.report.page import (
    audit_places,
    is_page,
    preview_place,
    render,
    report_place,
    write,
    write_audit,
    write_preview,
)

__all__ = [
    "audit_places",
    "is_page",
    "is_unsigned",
    "preview_place",
    "render",
    "report_place",
    "write",
    "write_audit",
    "write_preview",
]
