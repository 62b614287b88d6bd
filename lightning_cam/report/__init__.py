"""One file to send: the run's record as a page that opens offline."""

from lightning_cam.report.page import write_report

__all__ = ["write_report"]
