"""`write_report`: a run's record as one HTML file that opens offline."""

from lightning_cam.output.report.page import write_report

__all__ = ["write_report"]
