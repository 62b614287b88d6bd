"""What a run leaves on disk of its attention: one file a probe, a line a validation."""

from lightning_cam.record.reader import LookRecord, MapRecord, ProbeRecord, read_run
from lightning_cam.record.writer import Recorder, settings_of

__all__ = ["LookRecord", "MapRecord", "ProbeRecord", "Recorder", "read_run", "settings_of"]
