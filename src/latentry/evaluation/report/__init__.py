"""Reports of evaluations as pages that open without a network."""

from latentry.evaluation.report.page import PAGE, page, write

__all__ = ["PAGE", "page", "write"]
