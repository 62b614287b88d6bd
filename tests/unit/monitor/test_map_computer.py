"""`MapComputer`: the maps of `compute_cams`, in memory that there is, shared over processes."""

import pytest
import torch
from helpers.nets import ConvNet

from lightning_cam import compute_cams
from lightning_cam.explain.result import concatenate
from lightning_cam.explain.targets import ClassTarget, MultiLabelTarget
from lightning_cam.monitor import map_computer
from lightning_cam.monitor.config import MonitorConfig
from lightning_cam.monitor.map_computer import MapComputer
from lightning_cam.monitor.passes import DuePasses, run_passes
from lightning_cam.runtime.distributed import DistributedContext

IMAGES, CLASSES = torch.rand(5, 3, 16, 16), torch.tensor([0, 1, 2, 1, 0])


def computer_of(model, target=None, **options):
    target = ClassTarget(CLASSES) if target is None else target
    return MapComputer(MonitorConfig(**options), target, model, IMAGES)


def test_maps_are_those_of_compute_cams():
    net, options = ConvNet(), {"method": ["gradcam", "layercam"], "aug_smooth": True, "seed": 3}
    found = computer_of(net, **options).compute_here(net, IMAGES, ["a", "b"])
    expected = compute_cams(net, IMAGES, CLASSES, layers=["a", "b"], **options)
    assert list(found.maps) == list(expected.maps)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(found.maps[key], maps)
    # It is sent between processes, and nothing of it is drawn.
    assert (found.images, found.ids, found.class_names) == (None, (), None)


def test_first_maps_are_of_the_first_method_for_another_target():
    net = ConvNet()
    computer = computer_of(net, method=["layercam", "gradcam"])
    found = computer.first_maps(net, IMAGES, ClassTarget(CLASSES.flip(0)), ["b"])
    expected = compute_cams(net, IMAGES, CLASSES.flip(0), method="layercam", layers="b")
    torch.testing.assert_close(found, expected["layercam", "b"])


def test_the_chunk_size_is_the_given_one_and_is_halved_for_good():
    class Limited(ConvNet):
        def forward(self, images):
            if len(images) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    net = Limited()
    computer = computer_of(net, chunk_size=5)
    assert computer.chunk_size.current == 5
    found = computer.compute_here(net, IMAGES, ["b"])
    assert computer.chunk_size.current == 2
    expected = compute_cams(net, IMAGES, CLASSES, layers="b", chunk_size=1)
    torch.testing.assert_close(found["gradcam", "b"], expected["gradcam", "b"])


def test_a_warning_names_the_halved_chunk_size_once():
    computer = computer_of(ConvNet(), chunk_size=8)
    assert computer.memory_warning() == ""
    computer.chunk_size.current = 4
    assert "with 8 images per pass and goes on with 4. chunk_size=4" in computer.memory_warning()
    assert computer.memory_warning() == ""
    computer.chunk_size.current = 1
    assert "with 4 images per pass and goes on with 1" in computer.memory_warning()


def test_rows_are_those_of_the_whole_batch():
    net = ConvNet()
    found = computer_of(net).compute_here(net, IMAGES, ["b"], rows=slice(2, 4))
    whole = compute_cams(net, IMAGES, CLASSES, layers="b")
    assert found.rows.tolist() == [2, 3]
    torch.testing.assert_close(found["gradcam", "b"], whole["gradcam", "b"][2:4])


# --- several processes ----------------------------------------------------------------------------


class OneOfTwo(DistributedContext):
    """The context of one of two processes, which gathers its own result only."""

    def all_gather(self, work):
        return [work()]


def joined(net, target, sharing, monkeypatch):
    """Return the parts that two processes compute, joined, and the computer of the last one."""
    monkeypatch.setattr(map_computer, "sharing_of", lambda model, world_size: sharing)
    parts = []
    for rank in range(2):
        context = OneOfTwo(rank, 2)
        monkeypatch.setattr(DistributedContext, "current", staticmethod(lambda c=context: c))
        computer = computer_of(net, target)
        due = DuePasses(untrained=False, noise_floor=False, exchanges=None)
        parts.append(run_passes(computer, net, IMAGES, ["b"], due).result)
    return concatenate(parts), computer


@pytest.mark.parametrize("sharing", ["independent", "lockstep", "replicated"])
def test_the_parts_of_two_processes_join_to_the_whole(sharing, monkeypatch):
    net = ConvNet()
    found, computer = joined(net, ClassTarget(CLASSES), sharing, monkeypatch)
    assert computer.replicated is (sharing == "replicated")
    assert computer.chunk_size.fixed is (sharing != "independent")
    expected = compute_cams(net, IMAGES, CLASSES, layers="b")
    assert torch.equal(found.rows, expected.rows)
    torch.testing.assert_close(found["gradcam", "b"], expected["gradcam", "b"])
    torch.testing.assert_close(found.logits, expected.logits)


@pytest.mark.parametrize(
    ("sharing", "expected"), [("independent", "independent"), ("lockstep", "replicated")]
)
def test_several_scores_per_image_are_replicated_where_passes_must_agree(
    sharing, expected, monkeypatch
):
    """The number of backward passes then depends on the images."""
    labels = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]])
    found, computer = joined(ConvNet(), MultiLabelTarget(labels), sharing, monkeypatch)
    assert computer.sharing == expected
    assert found.rows.tolist() == labels.nonzero()[:, 0].tolist()


def test_processes_in_lockstep_agree_on_the_smallest_chunk_size(monkeypatch):
    class Sizes(DistributedContext):
        def all_gather(self, work):
            return [work(), 3, 7]

    net = ConvNet()
    computer = computer_of(net)
    assert computer.chunk_size.current > 3
    monkeypatch.setattr(map_computer, "sharing_of", lambda model, world_size: "lockstep")
    monkeypatch.setattr(DistributedContext, "current", staticmethod(lambda: Sizes(0, 3)))
    computer.update_sharing(net)
    assert computer.chunk_size.current == 3
