"""Fill the tables of the documentation that are generated from the code: `make docs`."""

from benchmarks.pages import rewrite
from lightning_cam.metrics.documentation import metrics_tables

if __name__ == "__main__":
    rewrite("docs/metrics.md", {"metrics": metrics_tables()})
