"""`CAMCallback`: Lightning's hooks mapped onto `CAMMonitor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_cam.metrics.documentation import document_metrics
from lightning_cam.monitor.config import option_names
from lightning_cam.monitor.monitor import CAMMonitor
from lightning_cam.output.loggers import check_loggers
from lightning_cam.probe.probe import PROBE_SIZE
from lightning_cam.probe.sources import check_sources, sources_in
from lightning_cam.probe.trainer_data import TrainerProbes
from lightning_cam.runtime import lightning
from lightning_cam.runtime.checks import OnAlert, check_alert_actions, check_type
from lightning_cam.runtime.lightning_evaluation import evaluate, evaluate_test, set_probes
from lightning_cam.runtime.lightning_metrics import BestMetric, require_metrics, restore_metrics
from lightning_cam.runtime.lightning_other_data import OtherData

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from lightning_cam.explain.activation_maximization import ActivationTarget
    from lightning_cam.explain.layers import LayersLike
    from lightning_cam.explain.model_call import Forward, Output, ScoresOption
    from lightning_cam.explain.targets import TargetLike
    from lightning_cam.metrics.selection import MetricsOption
    from lightning_cam.monitor import Rule
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.probe import Probe
    from lightning_cam.probe.sources import ProbeSource


@document_metrics
class CAMCallback(lightning.CallbackBase):
    """Monitors where the model looks, at every validation, on the same images.

    Args:
        probe: the images to evaluate: a `Probe`, a dataset or dataloader to sample, `"val"`,
            `"train"` or `"test"` for the trainer's own data, or a dict of these by name; by default
            a balanced sample of the validation data, in `trainer.test` of the test data.
        method: one or several of `METHODS`; metrics of the first have plain names.
        layers: `"auto"`, a layer's name, glob, negative position or module, or several.
        target: what is explained: `"label"` (each positive one of several; else the prediction),
            `"mean_label"`, `"prediction"`, `"difference"` (label against the closest other class),
            `"box"` (a detector's score for the probe's boxes), a class index, a `Target`, or a
            function of the model's output.
        forward: how the model is called, where not as `module(images)`: a function of both.
        output: where the class scores are in it: key, index, path `"head.logits"` or a function.
        scores: `"logits"` or `"probabilities"`; `"auto"` decides by operation and values.
        mean, std: per channel, of the images' normalisation, where the data does not say.
        class_names: by index, where data and model do not say.
        metrics: which go to the loggers: `"headline"`, the few that tell runs apart, `"all"`, or
            names such as `["enrichment", "drift_*"]`; also what a rule, a callback that monitors,
            or a scheduler needs. `trainer.callback_metrics`, record and report have all of them.
        every_n_validations: evaluate at every n-th validation only.
        num_pictures: how many of the probe's images are drawn.
        colormap: `turbo`, `cividis`, `viridis`, `inferno`, `magma`, `plasma`, `hot`, `jet`, `bone`.
        alpha: weight of the colours over the image where the heat is greatest, 0 to 1.
        tag: what the names of metrics and images start with.
        probe_size: number of images sampled where `probe` is not a `Probe`.
        seed: of that sample and everything else that is random.
        chunk_size: images per pass; by default as in `compute_cams`.
        aug_smooth: average the maps of mirrored, darker and brighter images: six times the cost.
        eigen_smooth: keep the first principal component of what a map is summed from.
        fuse_layers: add for each method one map that fuses those of all layers.
        alerts: rules such as `Threshold("enrichment", below=0.8)`, `()` for none: docs/alerts.md.
        on_alert: what an alert does beside its line in `alerts.jsonl` and the loggers: `"warn"`,
            `"stop"`, `"checkpoint"`, or a function `(alert, trainer, module)`; one or several.
        alert_error_rate: chance of an unfounded default alert in a whole training.
        interventions_every: test by altered images what the model relies on, at the first five and
            every n-th evaluation, by default the 10th, 20th, ...; 0 for only beyond a rule's limit.
        estimate_masks: estimate masks by GrabCut where the probe has none; alerts say so.
        masks: the `masks.json` of `lightning-cam label`, for those of the images that are in it.
        panels: which images are drawn, of `lightning_cam.output.panels.PANELS`; by default
            `overlay`, `timeline`, `comparison`, `methods`, `worst` and `classes`.
        scale: `image` draws each map up to its own maximum, `run` up to the image's largest so far.
        feature_layers: layers that the panel `features` shows; by default those of the maps.
        feature_channels: how many of their channels, or which.
        activation_maximization: what that panel maximises: class indices, `"layer:channel"`.
        slow_panels_every: these two panels are drawn at every n-th evaluation.
        monitor: the trainer's metric that says which evaluation was the best, for metrics named
            `_best`; by default what `ModelCheckpoint` or `EarlyStopping` monitor, else confidence.
        mode: whether the smallest (`min`) or the largest (`max`) of it is the best.
        max_overhead: largest share of the training's time, such as 0.02; others are skipped.
        progress_bar: a metric to show there, such as `enrichment`.
        report: write `report.html` into the run's folder, now and then and when the training ends.
        strict: raise instead of warn when something fails during training.

    Raises:
        ValueError, TypeError: wrong arguments, here or, with the data, before the first batch.

    {metrics}

    Example:
        >>> from lightning_cam import CAMCallback
        >>> callback = CAMCallback(method=["gradcam", "layercam"], num_pictures=8)
        >>> CAMCallback(method="grad-cam")
        Traceback (most recent call last):
        ...
        ValueError: unknown method 'grad-cam'. Did you mean 'gradcam' ...
    """

    def __init__(
        self,
        probe: ProbeSource | Mapping[str, ProbeSource] | None = None,
        *,
        method: str | Sequence[str] = "gradcam",
        layers: LayersLike = "auto",
        target: TargetLike = "label",
        forward: Forward | None = None,
        output: Output = None,
        scores: ScoresOption = "auto",
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        class_names: Sequence[str] | None = None,
        metrics: MetricsOption = "headline",
        every_n_validations: int = 1,
        num_pictures: int = 16,
        colormap: str = "turbo",
        alpha: float = 0.7,
        tag: str = "cam",
        probe_size: int = PROBE_SIZE,
        seed: int = 0,
        chunk_size: int | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
        fuse_layers: bool = False,
        alerts: Sequence[Rule] | None = None,
        on_alert: OnAlert | Sequence[OnAlert] = "warn",
        alert_error_rate: float = 0.05,
        interventions_every: int | None = None,
        estimate_masks: bool = False,
        masks: str | Path | None = None,
        panels: Sequence[str] | None = None,
        scale: Literal["image", "run"] = "image",
        feature_layers: LayersLike | None = None,
        feature_channels: int | Sequence[int] = 8,
        activation_maximization: Sequence[ActivationTarget] | None = None,
        slow_panels_every: int = 5,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        max_overhead: float | None = None,
        progress_bar: str | None = None,
        report: bool = True,
        strict: bool = False,
    ) -> None:
        options = {name: value for name, value in locals().items() if name in option_names()}
        super().__init__()
        check_type("progress_bar", progress_bar or "", str)
        actions = check_alert_actions(on_alert)
        self._options: dict[str, Any] = {"actions": actions, "progress_bar": progress_bar}
        self._sources = check_sources(probe)
        self._probes = TrainerProbes(probe_size, seed, mean=mean, std=std, class_names=class_names)
        self._started = self._ready = False
        probes = dict.fromkeys(sources_in("fit", self._sources))
        self._monitor = CAMMonitor(probes, strict=strict, warn=lightning.warn, **options)
        self._other_data = OtherData(self._probes, self._sources)
        self._best = BestMetric(monitor, mode, self.config.tag)

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint: several callbacks differ by their tag."""
        return self._generate_state_key(tag=self.config.tag)

    @property
    def probes(self) -> dict[str, Probe]:
        """The probes that are evaluated, by name; empty until the data is loaded."""
        return self._monitor.probes

    @property
    def config(self) -> MonitorConfig:
        """All options of the monitor."""
        return self._monitor.config

    # --- before the first batch ------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that there will be something to evaluate."""
        lightning.check_strategy(trainer)
        if stage != "fit":
            return
        self._monitor.begin_fit(pl_module)
        needs_data = "val" in [each for each in self._sources.values() if isinstance(each, str)]
        lightning.check_validation(trainer, needs_data=needs_data)
        for note in check_loggers(trainer.loggers, several_maps=self.config.has_several_maps):
            lightning.info(trainer, f"lightning_cam: {note}")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check given probes against the model."""
        self._started = False
        self._monitor.start_run()
        self._set_up_probes(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sample probes from the validation data, which is loaded now."""
        if not self._other_data.begin(trainer, pl_module, self._monitor):
            self._set_up_probes(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sample probes where there was no sanity check to do it at and the data is loaded."""
        self._set_up_probes(trainer, pl_module)
        restore_metrics(trainer, self._monitor.scalars.last)
        self._best.start(trainer)
        self._started = True

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, _: int, loader: int = 0
    ) -> None:
        """Keep a batch for a probe, or note what the model says of the probe's images in it."""
        self._probes.collect(batch, loader)
        if not trainer.sanity_checking:
            self._monitor.start_batch(pl_module, batch)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Remove what noted it."""
        self._monitor.end_batch()

    def _set_up_probes(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set up the probes whose data is loaded; raise only before the first training batch."""
        self._ready = False
        with self._monitor.errors.suppress("the setup of probes", when=self._started):
            if not (self._monitor.probe_set.is_set_up or lightning.is_initialized(pl_module)):
                return
            set_probes(trainer, pl_module, self._monitor, self._probes.sample, self._sources)
            lines = self._monitor.setup(pl_module, lightning.forward_context(trainer, pl_module))
            for line in lines:
                lightning.info(trainer, f"lightning_cam: {line}")
            if lines:
                require_metrics(trainer, self._monitor, self._options["progress_bar"])
            self._ready = True

    # --- at validation ---------------------------------------------------------------------------

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, log, write."""
        if not self._other_data.evaluate(trainer, pl_module):
            self._set_up_probes(trainer, pl_module)  # of batches that were collected
            if not trainer.sanity_checking:
                self._evaluate(trainer, pl_module, lightning.log_step(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate here where the module has no validation loop and the probe was given."""
        if not lightning.has_validation(trainer):
            self.on_validation_start(trainer, pl_module)
            self._evaluate(trainer, pl_module, lightning.log_step(trainer, train_epoch_end=True))
            self._best.settle(trainer, self._monitor)

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        fitting = lightning.is_fitting(trainer)  # else `validate()`: no part of the history
        options = self._options | {"step": step, "update_history": fitting}
        if fitting:
            if self.config.max_overhead is not None:
                lightning.synchronize(trainer)
            if not (self._ready and self._monitor.should_evaluate()):
                return
            options["monitored_value"] = self._best.value_at_evaluation(trainer)
        evaluate(trainer, pl_module, self._monitor, **options)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """Say which evaluation was the best; finish the images of `trainer.validate()`."""
        if lightning.is_fitting(trainer):
            self._best.settle(trainer, self._monitor)
        else:
            self._monitor.close(report=False)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the test data under `<tag>/test`. A failure costs a warning."""
        sources = sources_in("test", self._sources)
        evaluate_test(trainer, pl_module, self._monitor, self._probes.sample, sources)

    # --- at the end, and in checkpoints ----------------------------------------------------------

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Log the images that were drawn beside the last batches."""
        if trainer.is_global_zero:
            self._monitor.flush()

    def on_fit_end(self, trainer: Trainer, *_: Any) -> None:
        """Finish the last images and write the report."""
        self._best.settle(trainer, self._monitor, at_end=True)
        if trainer.is_global_zero:
            self._monitor.close()

    def on_exception(self, trainer: Trainer, *_: Any) -> None:
        """Finish the images and the report of an interrupted training too."""
        self._monitor.end_batch()
        if trainer.is_global_zero:
            with self._monitor.errors.never_raise():  # the exception is what matters
                self._monitor.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the count of validations and what each probe remembers."""
        return self._monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what a checkpoint holds, as soon as the probes are there to compare."""
        self._monitor.load_state_dict(state_dict)
