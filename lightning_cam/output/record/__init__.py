"""What a run stores about attention: one file per probe, one line per evaluation."""

from lightning_cam.output.record.reader import (
    EvaluationRecord,
    MapRecord,
    ProbeRecord,
    read_run,
    reading,
)
from lightning_cam.output.record.writer import Recorder

__all__ = ["EvaluationRecord", "MapRecord", "ProbeRecord", "Recorder", "read_run", "reading"]
