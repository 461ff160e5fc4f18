"""A page for people without a shell: what went in, what did not and why, and what is being done about it."""

from reliable_imports.report.page import render, write_report
from reliable_imports.report.subject import Showing, report_on_batch, report_on_type

__all__ = ["Showing", "render", "report_on_batch", "report_on_type", "write_report"]
