"""A store on one self-contained page."""

from clwm_data.report.page import write_report

__all__ = ["write_report"]
