"""`CAMCallback`: when to look, who computes, who writes. No mathematics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from lightning_cam import _lightning
from lightning_cam._messages import unknown
from lightning_cam.budget import Budget, checked_share
from lightning_cam.desk import Desk
from lightning_cam.faults import Faults
from lightning_cam.gap import gap_or_none
from lightning_cam.loggers import file_store, unknown_loggers
from lightning_cam.loggers.base import safe_name
from lightning_cam.options import Options, check_count
from lightning_cam.probe import Probe
from lightning_cam.probe.probe import PROBE_SIZE, first_loader
from lightning_cam.restoring import load_rules
from lightning_cam.watch import Watch

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor

    from lightning_cam.explain.layers import LayersLike
    from lightning_cam.explain.preferences import Wanted
    from lightning_cam.explain.targets import TargetLike
    from lightning_cam.monitor import Alert, Rule
    from lightning_cam.watch import Look

_ACTIONS = ("warn", "stop", "checkpoint")
OnAlert: TypeAlias = Callable[..., object] | str  # of alert, trainer, module; no string: for YAML
ProbeLike: TypeAlias = "Probe | Literal['train', 'val'] | Any"  # Any: a dataset or dataloader


class CAMCallback(_lightning.CallbackBase):
    """Watches where the network looks, at every validation, on the same images.

    Args:
        probe: the images to watch: a `Probe`, a dataset or dataloader to sample, `"val"` or
            `"train"` for the trainer's own data, or a dict of these by name. By default a
            class-balanced sample of the validation data.
        method: one or several of `lightning_cam.METHODS`. The first one at the first layer gives
            the metrics with plain names.
        layers: `"auto"`, a layer's name, glob, negative position or module, or several.
        target: what is explained: `"label"` (every positive one of several; the prediction where
            there are none), `"mean_label"`, `"prediction"`, `"difference"` (the label against the
            closest other class), `"box"` (a detector's score for the probe's boxes), a class
            index, a `Target`, or a function of the model's output.
        every_n_validations: look at every n-th validation only.
        num_pictures: how many of the probe's images are drawn.
        colormap: `turbo`, `cividis`, `viridis`, `inferno`, `magma`, `plasma`, `hot`, `jet`, `bone`.
        alpha: weight of the colours over the image where the heat is greatest, 0 to 1.
        tag: what the names of metrics and pictures start with.
        probe_size: images sampled where `probe` is not given as one.
        seed: of that sample.
        chunk_size: images that run at a time; by default as in `compute_cams`.
        aug_smooth: average the maps of mirrored, darker and brighter images; six times the cost.
        eigen_smooth: keep the first principal component of what a map is summed from.
        fuse_layers: add for each method one map that fuses those of all layers.
        alerts: rules such as `Level("enrichment", below=0.8)`; `()` for none. By default, for
            probes with masks, attention off the object and a score that hangs on the background;
            without masks a score that hangs on the image's rim.
        on_alert: what an alert does beside its line in `alerts.jsonl` and the loggers: `"warn"`,
            `"stop"` the training, `"checkpoint"` it, or a function `(alert, trainer, module)`; one
            or several.
        interventions_every: at the first five looks and every n-th after that, ask by altered
            images whether the model uses the background (four more forward passes of the probe).
            A value beyond a rule's limit always asks. 0 for only then.
        estimate_masks: guess masks by GrabCut for probes without any (from their boxes, where there
            are some). Metrics and alerts are only as good as the guess, and alerts say so.
        panels: which pictures are drawn, of `lightning_cam.options.PANELS`; by default `overlay`,
            `timeline`, `comparison`, `methods`, `worst` and `classes`.
        scale: `image` draws each map from 0 to its own maximum, `run` from 0 to the largest value
            that the image's map has reached, so that less evidence looks fainter.
        feature_layers: layers that the panel `features` shows; by default the watched ones.
        feature_channels: how many of their channels, or which.
        preferred: what the panel `preferences` asks for: class indices, `"layer:channel"`.
        slow_panels_every: looks from one drawing of `features` and `preferences` to the next.
        monitor: the trainer's metric that says which validation was the best, for the metrics that
            end in `_best`; by default what `ModelCheckpoint` or `EarlyStopping` monitor, else the
            probability of the probe's labels.
        mode: whether the smallest (`min`) or the largest (`max`) of it is the best.
        max_overhead: largest share of the training's time that the looks may take, such as 0.02: at
            validations for which there is no time left, the callback does not look. The share is
            logged as `overhead`.
        progress_bar: a metric to show there, such as `enrichment`.
        report: write `report.html` into the run's folder when the training ends.
        strict: raise instead of warn when something fails during training.

    Raises:
        ValueError: arguments that do not fit, here; what needs the model or the data, before the
            first training batch.

    Logged metrics, all under `cam/` (`cam/<probe>/` with several probes, and with the suffix
    `/<method>@<layer>` for every further map), NaN where no image defines them:

    - each map by itself: `zero_map_fraction`, `evidence`, `entropy`, `border_mass`, `center_x`,
      `center_y`;
    - with masks or boxes: `relevance_mass`, `enrichment`, `relevance_rank`, `pointing_game`, `iou`;
      beside each its baselines `<metric>_random`, `<metric>_center`, `<metric>_untrained`; and
      `enrichment_of/<class>`;
    - movement, against the validation before, the first, the best, and an exponential average, as
      `<movement>_previous`, `<movement>_first`, `<movement>_best`, `<movement>_average`: `jsd`,
      `correlation`, `rank_correlation`, `top_overlap`, `center_shift`; the same of images whose
      prediction stayed with the prefix `unflipped/`; `drift_previous`, `drift_first`, `drift_best`,
      `drift_average`: `jsd` in multiples of `noise_floor`, what a flip and a small jitter move;
    - predictions: `prediction_flips`, and with labels `label_confidence`;
    - at interventions, with masks and labels: `background_reliance`, `bg_gap`,
      `bg_gap_confidence`, `mixed_rand_drop`, `rfs`, `rfs_confidence`, `background_accuracy`,
      `background_confidence`, `background_skill`; without masks: `rim_reliance`,
      `rim_gap_confidence`, `rim_confidence`, `rim_skill`, `top_drop`, `random_drop`,
      `faithfulness`;
    - with two probes: `gap/<metric>`, training minus validation, or the first minus the second;
    - with `max_overhead`: `overhead`.

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
        probe: ProbeLike | Mapping[str, ProbeLike] | None = None,
        *,
        method: str | Sequence[str] = "gradcam",
        layers: LayersLike = "auto",
        target: TargetLike = "label",
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
        interventions_every: int = 5,
        estimate_masks: bool = False,
        panels: Sequence[str] | None = None,
        scale: Literal["image", "run"] = "image",
        feature_layers: LayersLike | None = None,
        feature_channels: int | Sequence[int] = 8,
        preferred: Sequence[Wanted] | None = None,
        slow_panels_every: int = 5,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        max_overhead: float | None = None,
        progress_bar: str | None = None,
        report: bool = True,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self._options = Options(
            method=method,
            layers=layers,
            target=target,
            num_pictures=num_pictures,
            colormap=colormap,
            alpha=alpha,
            chunk_size=chunk_size,
            aug_smooth=aug_smooth,
            eigen_smooth=eigen_smooth,
            fuse_layers=fuse_layers,
            rules=alerts,
            interventions_every=interventions_every,
            seed=seed,
            panels=panels,
            scale=scale,
            feature_layers=feature_layers,
            feature_channels=feature_channels,
            preferred=preferred,
            slow_panels_every=slow_panels_every,
        )
        self._actions = _checked_actions(on_alert)
        check_count("every_n_validations", every_n_validations)
        check_count("probe_size", probe_size)
        if not tag.strip("/"):
            raise ValueError(f"expected a tag with letters, came {tag!r}")
        if mode not in ("min", "max"):
            raise ValueError(f"expected mode 'min' or 'max', came {mode!r}")
        self._shown = f"{tag.strip('/')}/{progress_bar}" if progress_bar else ""
        self._monitor = (monitor, mode) if monitor else None
        self._estimate_masks = estimate_masks
        self._sources = _named_sources(probe)
        self._gap = gap_or_none(tag.strip("/"), self._tags(tag.strip("/")), alerts)
        self._every = every_n_validations
        self._tag = tag.strip("/")
        self._probe_size = probe_size
        self._seed = seed
        self._report = report
        self._faults = Faults(strict=strict, warn=_lightning.warn)
        self._budget = Budget(checked_share(max_overhead))
        settings = {"every_n_validations": every_n_validations, "on_alert": on_alert}
        # In place when strict: an error should come from where it happens.
        self._desk = Desk(self._tag, self._faults, settings, background=not strict)
        self._watches: dict[str, Watch] = {}
        self._validations = 0
        self._restored: dict[str, Any] = {}
        self._logged: dict[str, None] = {}  # names, in order

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint: several callbacks differ by their tag."""
        return self._generate_state_key(tag=self._tag)

    @property
    def probes(self) -> dict[str, Probe]:
        """The probes being watched, by name; empty until the data is there."""
        return {name: watch.probe for name, watch in self._watches.items()}

    # --- before the first batch ------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that there will be something to watch."""
        del pl_module
        _lightning.check_strategy(trainer)
        if stage != "fit":
            return
        if self._needs("val") and not _lightning.has_validation(trainer):
            raise ValueError(
                "expected validation data to choose a probe from, came a module or data without a "
                "validation loop. Give CAMCallback(probe=Probe(images, targets)), probe='train', "
                "or define validation_step and val_dataloader."
            )
        if trainer.limit_val_batches == 0:
            _lightning.warn(
                "CAMCallback looks at validation, and limit_val_batches=0 turns that off: nothing "
                "will be logged."
            )
        several = self._options.several_maps
        if several and (clash := file_store(trainer.loggers)):
            raise ValueError(
                f"expected one method and one layer for MLflow's file store {clash!r}, which "
                "cannot hold 'cam/entropy' beside 'cam/entropy/layercam@layer4', came several. Use "
                "MLFlowLogger(tracking_uri='sqlite:///mlflow.db')."
            )
        for name in unknown_loggers(trainer.loggers):
            _lightning.info(
                trainer,
                f"lightning_cam: no adapter for {name} is known, so its pictures are files in the "
                "log folder. lightning_cam.loggers.register_sink adds one, see docs/loggers.md.",
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check given probes against the model."""
        self._desk.start()
        self._budget.start()
        self._prepare(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose probes from the validation data, at the latest here."""
        self._prepare(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose probes from the trainer's data, where there was no sanity check to do it at."""
        if self._needs("val"):
            _lightning.load_validation_data(trainer)
        self._prepare(trainer, pl_module)

    def _tags(self, tag: str) -> dict[str, str]:
        """Return what the metrics of each probe start with."""
        if len(self._sources) == 1:
            return dict.fromkeys(self._sources, tag)
        return {name: f"{tag}/{name}" for name in self._sources}

    def _needs(self, split: str) -> bool:
        return any(isinstance(source, str) and source == split for source in self._sources.values())

    def _prepare(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, source in self._sources.items():
            team = _lightning.team(trainer)
            if name in self._watches:
                self._watches[name].share(team, pl_module)
                continue
            probe = team.through(partial(self._probe_from, trainer, source))
            if probe is None:  # its data is not loaded yet
                continue
            probe = team.same(probe, probe.fingerprint)  # of data that each process has a part of
            tag = self._tags(self._tag)[name]
            watch = Watch(tag, probe, self._options, team=team)
            line = team.through(partial(self._chosen, trainer, pl_module, watch))
            _lightning.info(trainer, f"lightning_cam: {line}")
            if probe.mean is None and num_outside_unit_range(probe.images):
                _lightning.info(
                    trainer,
                    f"lightning_cam: {tag}: mean and std of the images are not known, so pictures "
                    "show their range rescaled to 0..1. Give Probe(..., mean=..., std=...).",
                )
            self._watches[name] = watch
            self._restore(name, watch)
            if self._shown and len(self._watches) == len(self._sources):
                self._check_shown()
            if self._gap is not None and len(self._watches) == len(self._sources):
                self._gap.names({name: each.metric_names for name, each in self._watches.items()})

    def _chosen(self, trainer: Trainer, pl_module: LightningModule, watch: Watch) -> str:
        images = _lightning.on_device(trainer, pl_module, watch.probe.images)
        return watch.prepare(pl_module, images, lambda: _lightning.as_forward(trainer))

    def _check_shown(self) -> None:
        """Raise ValueError when the progress bar is to show what is never logged."""
        names = [name for watch in self._watches.values() for name in watch.metric_names]
        if self._shown not in names:
            start = f"{self._tag}/"
            known = [name.removeprefix(start) for name in names]
            raise ValueError(unknown("metric", self._shown.removeprefix(start), known))

    def _probe_from(self, trainer: Trainer, source: ProbeLike) -> Probe | None:
        probe = self._sampled(trainer, source)
        if probe is None or not self._estimate_masks:
            return probe
        return probe.with_estimated_masks(self._seed)

    def _sampled(self, trainer: Trainer, source: ProbeLike) -> Probe | None:
        if isinstance(source, Probe):
            return source
        if isinstance(source, str):
            loaders = _lightning.split_loader(trainer, source)
            if loaders is None:
                return None
            return Probe.from_dataloader(first_loader(loaders), self._probe_size, seed=self._seed)
        if hasattr(source, "dataset") and hasattr(source, "collate_fn"):
            return Probe.from_dataloader(source, self._probe_size, seed=self._seed)
        return Probe.from_dataset(source, self._probe_size, seed=self._seed)

    # --- at validation ---------------------------------------------------------------------------

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, log metrics, write pictures."""
        if not trainer.sanity_checking:
            self._validated(trainer, pl_module, _lightning.log_step(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look here when the module has no validation loop and the probe was given."""
        if not _lightning.has_validation(trainer):
            step = _lightning.log_step(trainer, train_epoch_end=True)
            self._validated(trainer, pl_module, step)

    def _validated(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        fitting = _lightning.fitting(trainer)  # `validate()` looks, but is no part of the history
        if fitting:
            due = self._validations % self._every == 0
            self._validations += 1
            if not due or not self._affordable(trainer):
                return
        started = time.perf_counter()
        looks: dict[str, Look] = {}
        if fitting and self._budget.most is not None:
            self._log_values(trainer, pl_module, {f"{self._tag}/overhead": self._budget.share})
        alerts: list[Alert] = []
        for name, watch in self._watches.items():
            look = self._look(trainer, pl_module, watch, step)
            self._log(trainer, pl_module, watch, look)
            if look is not None:
                looks[name] = look
                if fitting:
                    goodness = watch.team.agreed(self._goodness(trainer))
                    with self._faults.forgiven("a look's alerts"):
                        alerts += watch.remember(look, goodness)
        with self._faults.forgiven("the gap of two probes"):
            alerts += self._log_gap(trainer, pl_module, looks, remember=fitting)
        # What alerts do may need every process, so all take the first one's.
        team = _lightning.team(trainer)
        alerts = team.agreed(alerts)
        # Only now: a logger that fails on rank zero must not keep it from the others' metrics.
        folder = _lightning.agreed_log_dir(trainer, self._faults.note)
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            self._desk.write(
                folder,
                trainer.loggers,
                [(self._watches[name], look) for name, look in looks.items()],
                alerts,
                step,
                list(self._logged),  # `callback_metrics` would reduce them, which takes all ranks
                pl_module.device,
                record=fitting,
            )
        for alert in alerts:
            for action in self._actions:
                with self._faults.forgiven("an alert's action"):
                    team.together(partial(self._act, trainer, pl_module, alert, action, folder))
        self._budget.spend(time.perf_counter() - started)

    def _affordable(self, trainer: Trainer) -> bool:
        """Tell whether there is time for a look; the first process's clock counts for all."""
        if self._budget.most is None:
            return True
        if trainer.strategy.root_device.type == "cuda":  # what was queued before is not ours
            torch.cuda.synchronize(trainer.strategy.root_device)
        return _lightning.team(trainer).agreed(self._budget.allows())

    def _act(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        alert: Alert,
        action: OnAlert,
        folder: Path,
    ) -> None:
        """Do what was asked for; every rank comes here with the same alerts."""
        if callable(action):
            action(alert, trainer, pl_module)
        elif action == "warn":
            _lightning.warn(f"CAMCallback: {alert}")
        elif action == "stop":
            trainer.should_stop = True
        elif action == "checkpoint":
            name = f"alert-{safe_name(alert.metric)}-step={alert.step:08d}.ckpt"
            _lightning.save_checkpoint(trainer, folder / "checkpoints" / name)

    def _look(
        self, trainer: Trainer, pl_module: LightningModule, watch: Watch, step: int
    ) -> Look | None:
        """Return the look, or None on every rank when it failed on any."""
        look: Look | None = None
        before = watch.chunk.now
        with self._faults.forgiven("a look"):
            look = watch.team.through(partial(self._looked, trainer, pl_module, watch, step))
        if watch.chunk.now < before and not self._faults.strict:
            self._faults.note(
                f"CAMCallback ran out of memory with {before} images at a time and goes on with "
                f"{watch.chunk.now}. CAMCallback(chunk_size={watch.chunk.now}) starts with that."
            )
        return look

    def _looked(
        self, trainer: Trainer, pl_module: LightningModule, watch: Watch, step: int
    ) -> Look:
        images = _lightning.on_device(trainer, pl_module, watch.probe.images)
        precision = lambda: _lightning.as_forward(trainer)  # noqa: E731
        look = watch.look(pl_module, images, trainer.current_epoch, step, precision)
        with self._faults.forgiven("slow panels"):
            return replace(look, inside=watch.look_inside(pl_module, images, precision))
        return look

    def _goodness(self, trainer: Trainer) -> float:
        """Return the monitored value, the higher the better; NaN where there is none."""
        monitor = self._monitor or _lightning.monitored(trainer)
        if monitor is None or monitor[0] not in trainer.callback_metrics:
            return math.nan
        value = float(trainer.callback_metrics[monitor[0]])
        return -value if monitor[1] == "min" else value

    def _log_gap(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        looks: Mapping[str, Look],
        *,
        remember: bool,
    ) -> list[Alert]:
        """Log how far two probes differ; return the alerts that it raises."""
        gaps = self._gap.measure(looks) if self._gap is not None else {}
        if self._gap is None or not gaps:
            return []
        self._log_values(trainer, pl_module, {f"{self._tag}/{k}": v for k, v in gaps.items()})
        return self._gap.alerts(gaps, looks) if remember else []

    def _log(
        self, trainer: Trainer, pl_module: LightningModule, watch: Watch, look: Look | None
    ) -> None:
        """Log the look's metrics; after a failure nothing, so that the last ones stand.

        Where there are none yet, NaN: a monitor that does not find its metric ends the run.
        """
        if look is None and watch.history.count:
            return
        metrics = look.metrics if look else dict.fromkeys(watch.metric_names, math.nan)
        self._log_values(trainer, pl_module, metrics)

    def _log_values(
        self, trainer: Trainer, pl_module: LightningModule, values: Mapping[str, float]
    ) -> None:
        self._logged |= dict.fromkeys(values)
        several_ranks = trainer.world_size > 1  # all have the same value, but Lightning asks
        for name, value in values.items():
            pl_module.log(
                name,
                value,
                on_step=False,
                on_epoch=True,
                sync_dist=several_ranks,
                prog_bar=name == self._shown,
            )

    # --- writing ---------------------------------------------------------------------------------

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Hand over the pictures that were drawn beside the last batches."""
        if trainer.is_global_zero:
            self._desk.deliver()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave nothing behind after `trainer.validate()`, which has no later hook."""
        del pl_module
        if not _lightning.fitting(trainer):
            self._desk.finish(report=False)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last pictures and the report."""
        del pl_module
        self._finish(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Lose nothing of an interrupted training either."""
        del pl_module, exception
        with self._faults.gentle():  # what interrupted it is the news
            self._finish(trainer)

    def _finish(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            with self._faults.forgiven("the last pictures"):
                self._desk.finish(report=self._report)

    # --- memory ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the validations counted and what each probe remembers."""
        probes = {name: watch.state_dict() for name, watch in self._watches.items()}
        state = {"validations": self._validations, "probes": {**self._restored, **probes}}
        if self._gap is not None:
            state["gap"] = self._gap.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what a checkpoint remembers, as soon as the probes are there to compare."""
        validations, probes, gap = 0, {}, None
        try:
            validations, probes = int(state_dict["validations"]), dict(state_dict["probes"])
            gap = state_dict.get("gap")
        except Exception as error:  # noqa: BLE001 - anything may be in a damaged file
            self._afresh(f"the checkpoint's state cannot be used ({type(error).__name__}: {error})")
        self._validations, self._restored = validations, probes
        if self._gap is not None and gap is not None:
            try:
                load_rules(self._gap.book, gap["rules"])
            except Exception as error:  # noqa: BLE001 - likewise
                self._afresh(f"the rules of the gap cannot be used ({type(error).__name__})")
        for name, watch in self._watches.items():
            self._restore(name, watch)

    def _restore(self, name: str, watch: Watch) -> None:
        state = self._restored.pop(name, None)
        if state is None:
            return
        reason = watch.load_state_dict(state)
        if reason:
            self._afresh(reason)

    def _afresh(self, reason: str) -> None:
        if self._faults.strict:
            raise ValueError(f"expected a checkpoint of this run, but {reason}")
        self._faults.note(f"CAMCallback starts its history afresh: {reason}.")


def _checked_actions(on_alert: Any) -> tuple[OnAlert, ...]:
    actions = (on_alert,) if isinstance(on_alert, str) or callable(on_alert) else tuple(on_alert)
    for action in actions:
        if not callable(action) and action not in _ACTIONS:
            raise ValueError(unknown("action on_alert", action, _ACTIONS))
    return actions


def num_outside_unit_range(images: Tensor) -> int:
    """Return how many values are not displayable as they are."""
    return int(torch.count_nonzero((images < 0) | (images > 1)))


def _named_sources(probe: Any) -> dict[str, ProbeLike]:
    """Return the probes' sources by name, checked as far as can be without data."""
    sources = (
        dict(probe) if isinstance(probe, Mapping) else {"val": "val" if probe is None else probe}
    )
    if not sources:
        raise ValueError("expected at least one probe, came an empty dict")
    for name, source in sources.items():
        if isinstance(source, str) and source not in ("train", "val"):
            raise ValueError(f"expected probe 'train' or 'val', came {source!r}")
        known = isinstance(source, (str, Probe)) or hasattr(source, "__getitem__")
        if isinstance(source, torch.Tensor) or not (known or hasattr(source, "__iter__")):
            raise TypeError(
                f"expected probe {name!r} as a Probe, a dataset, a dataloader, 'train' or 'val', "
                f"came a {type(source).__name__}. Wrap tensors: Probe(images, targets)."
            )
    return sources
