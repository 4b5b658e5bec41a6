"""Results as one HTML file that people look at: `write_report`."""

from .conformations import ensemble_page, library_page
from .page import Page
from .source import check_report, report_page, write_report

__all__ = ["Page", "check_report", "ensemble_page", "library_page", "report_page", "write_report"]
