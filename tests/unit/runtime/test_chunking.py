"""Chunk sizes: the default for a device, the same maps for every size, halving without memory."""

import pytest
import torch

from lightning_cam import compute_cams
from lightning_cam.runtime.chunking import (
    AdaptiveChunkSize,
    default_chunk_size,
    is_out_of_memory,
)


@pytest.mark.parametrize(
    ("side", "threads", "expected"),
    [(224, 1, 4), (224, 2, 8), (224, 9, 36), (32, 1, 64), (112, 1, 16), (448, 2, 2), (4000, 1, 1)],
)
def test_default_on_cpu_is_four_images_of_224_per_thread(monkeypatch, side, threads, expected):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert default_chunk_size(torch.empty(1, 3, 1, 1).expand(9, 3, side, side)) == expected


def test_default_on_an_accelerator_is_64():
    assert default_chunk_size(torch.empty(9, 3, 224, 224, device="meta")) == 64


def test_a_given_chunk_size_is_kept_and_checked():
    images = torch.rand(2, 3, 8, 8)
    assert default_chunk_size(images, 1) == 1
    assert default_chunk_size(images, 1000) == 1000
    with pytest.raises(ValueError, match="expected chunk_size of at least 1, got 0"):
        default_chunk_size(images, 0)


def test_chunks_give_the_same_maps_as_one_pass():
    torch.manual_seed(0)
    body = torch.nn.Conv2d(3, 4, 3, stride=16)
    net = torch.nn.Sequential(
        body, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    net.append(torch.nn.Linear(4, 5))
    images = torch.rand(5, 3, 224, 224)
    seen = []
    handle = body.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    chunked = compute_cams(net, images, layers="0")
    size = default_chunk_size(images)
    assert size < len(images)
    assert max(seen) == size
    seen.clear()
    whole = compute_cams(net, images, layers="0", chunk_size=5)
    handle.remove()
    assert max(seen) == 5
    torch.testing.assert_close(chunked["gradcam", "0"], whole["gradcam", "0"])
    torch.testing.assert_close(chunked.logits, whole.logits)


# --- AdaptiveChunkSize ----------------------------------------------------------------------------


def fits(most, sizes):
    """Return a computation that runs out of memory with more than `most` images per pass."""

    def compute(size):
        sizes.append(size)
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size

    return compute


@pytest.mark.parametrize(
    ("start", "count", "most", "tried"),
    [
        (16, 100, 16, [16]),
        (16, 100, 5, [16, 8, 4]),
        (64, 6, 2, [64, 3, 1]),  # a chunk cannot be larger than the batch
        (3, 100, 1, [3, 1]),
    ],
)
def test_the_size_is_halved_until_it_fits_and_stays(start, count, most, tried):
    chunk_size, sizes = AdaptiveChunkSize(start), []
    assert chunk_size.run(fits(most, sizes), count) == tried[-1]
    assert sizes == tried
    assert chunk_size.current == tried[-1]


def test_a_chunk_of_one_image_that_does_not_fit_raises():
    chunk_size, sizes = AdaptiveChunkSize(4), []
    with pytest.raises(torch.OutOfMemoryError):
        chunk_size.run(fits(0, sizes), 4)
    assert sizes == [4, 2, 1]


def test_a_fixed_size_is_halved_for_the_next_evaluation_only():
    chunk_size, sizes = AdaptiveChunkSize(4, fixed=True), []
    with pytest.raises(torch.OutOfMemoryError):
        chunk_size.run(fits(2, sizes), 4)
    assert (sizes, chunk_size.current) == ([4], 2)
    assert chunk_size.run(fits(2, sizes), 4) == 2


def test_other_errors_are_raised_at_once():
    def compute(_size):
        raise ValueError("wrong shape")

    chunk_size = AdaptiveChunkSize(8)
    with pytest.raises(ValueError, match="wrong shape"):
        chunk_size.run(compute, 8)
    assert chunk_size.current == 8


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("no room"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_all_allocators_are_recognised(error, expected):
    assert is_out_of_memory(error) is expected
