"""What a compression study found: in words, as a table, as plots, and as a page."""

from latentry.study.compression.report.findings import report
from latentry.study.compression.report.page import PAGE, write

__all__ = ["PAGE", "report", "write"]
