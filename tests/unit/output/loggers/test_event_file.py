"""The checksums of event files, against TensorBoard's own writer and reader."""

import io
import random

import pytest
from helpers.pictures import picture
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from lightning_cam.output.loggers.event_file import CompiledChecksums, prepare_file_writer
from lightning_cam.output.loggers.tensorboard import TensorBoardSink


@pytest.mark.parametrize("size", [0, 1, 2, 7, 255, 256, 4097])
def test_the_bytes_are_those_of_tensorboard(size):
    data = random.Random(size).randbytes(size)
    ours, theirs = io.BytesIO(), io.BytesIO()
    CompiledChecksums(ours).write(data)
    RecordWriter(theirs).write(data)
    assert ours.getvalue() == theirs.getvalue()


def test_tensorboard_reads_what_was_written_before_and_after(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    sink = TensorBoardSink(logger)
    sink.prepare("cam", ["loss"])
    sink.write([picture()], 1)
    logger.log_metrics({"loss": 0.5}, 1)
    records = logger.experiment._get_file_writer().event_writer._async_writer._writer
    assert type(records) is CompiledChecksums
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0}).Reload()
    assert [each.value for each in events.Scalars("loss")] == [1.0, 0.5]
    assert [each.step for each in events.Images(picture().tag)] == [1]


def test_the_queue_takes_all_metrics_of_an_evaluation_and_one_that_is_given_is_kept(tmp_path):
    for given, expected in ((10, 256), (1, 1), (1000, 1000)):  # 10 is the default
        logger = TensorBoardLogger(tmp_path / str(given), max_queue=given)
        writer = logger.experiment._get_file_writer()
        prepare_file_writer(writer)
        assert writer.event_writer._async_writer._byte_queue.maxsize == expected


@pytest.mark.parametrize("other", [object(), None])
def test_other_writers_are_left_alone(other):
    class Own:
        event_writer = other

    prepare_file_writer(Own())
