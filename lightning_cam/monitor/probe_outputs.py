"""`probe_outputs`: what of an evaluation is written, probe by probe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from lightning_cam.output.run_files import ProbeHeader
from lightning_cam.output.writer import ProbeOutput

if TYPE_CHECKING:
    from lightning_cam.monitor.evaluation import Evaluation
    from lightning_cam.monitor.probe_monitor import ProbeMonitor
    from lightning_cam.runtime.errors import ErrorPolicy
    from lightning_cam.runtime.forward_context import ForwardContext


def probe_outputs(
    monitors: Mapping[str, ProbeMonitor],
    evaluations: Mapping[str, Evaluation],
    errors: ErrorPolicy,
    forward_context: ForwardContext,
) -> list[ProbeOutput]:
    """Return what is written of the evaluations that did not fail.

    Args:
        monitors: of the probes, by name.
        evaluations: of the probes, by name.
        errors: what to do about exceptions; a probe's costs that probe's output.
        forward_context: how the network runs.
    """
    outputs = []
    for name, evaluation in evaluations.items():
        if evaluation.failed:
            continue
        monitor = monitors[name]
        with errors.suppress("the files and images of an evaluation"):
            header = ProbeHeader(
                tag=monitor.tag,
                probe=monitor.probe,
                num_pictures=monitor.config.output_config.num_pictures,
                settings=partial(monitor.config.settings, monitor.rules.rules),
                device=forward_context.to_model(monitor.probe.images[:1]).device,
            )
            outputs.append(ProbeOutput(header, evaluation, monitor.renderer_of(evaluation)))
    return outputs
