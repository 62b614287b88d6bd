"""`Metric`, the facts of one metric, and the registry of all of them; `catalog.py` fills it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from lightning_cam.runtime.messages import unknown_name

Kind = Literal["map", "mask", "movement", "intervention", "evaluation"]
Need = Literal["masks", "no masks", "labels", "two probes", "max_overhead"]

BASELINES = {
    "random": "uniform random maps",
    "center": "a Gaussian in the middle of the image",
    "untrained": "the same network with fresh weights",
}
REFERENCES = {
    "previous": "the previous evaluation",
    "first": "the first evaluation",
    "best": "the best evaluation",
    "average": "the exponential average",
}
GAP, UNFLIPPED, OF_CLASS = "gap", "unflipped", "enrichment_of"

GROUPS = {
    "attention": "Where does the model look?",
    "reliance": "What does it rely on?",
    "movement": "Does its attention move?",
    "health": "Does it know, and are the maps sound?",
    "gap": "Do training and validation differ?",
    "other": "More",
}


@dataclass(frozen=True)
class Metric:
    """What is known about one metric.

    Attributes:
        name: plain name, without tag or suffix.
        title: a few words, for headings.
        description: one sentence: what it is and how to read it.
        group: key of `GROUPS`, the question it answers.
        kind: what `function` takes and when it is called:

            - `map`: maps (N, h, w) to (N,);
            - `mask`: maps (N, h, w) and masks (N, H, W) to (N,), also for the maps of each of
              `BASELINES`, logged as `<name>_<baseline>`;
            - `movement`: maps (N, h, w) and earlier maps (N, h, w) to (N,), for each of
              `REFERENCES`, logged as `<name>_<reference>`;
            - `intervention`: measured by exchanging an attribute of the images, without a function:
              see `interventions.registry`;
            - `evaluation`: computed by the monitor itself, without a function.
        function: see `kind`.
        needs: what a probe must have, beside images.
        bounds: lowest and highest value, None where there is no bound.
        even: value for a map that is the same everywhere, or for a model without the property.
        higher_is_better: None where neither direction is better.
        percent: shown in per cent.
        headline: those of `logged_names` that are among the few that tell runs apart and go to
            loggers by default; None for the plain name, or `<name>_previous` where there is none.
        chart: title of a chart that several metrics share; by default the metric's own.
        reference_suffix: whether the name is followed by `_<reference>`, as for `movement`.
        in_pixels: whether `function`, of kind `movement`, also takes `image_hw`, the height and
            width of the image in pixels.
        compares_several: whether `function`, of kind `movement`, also takes a sequence of R earlier
            maps (N, h, w) and returns (R, N) then.
    """

    name: str
    title: str
    description: str
    group: str = "other"
    kind: Kind = "map"
    function: Callable[..., Any] | None = None
    needs: tuple[Need, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    even: float | None = None
    higher_is_better: bool | None = None
    percent: bool = False
    headline: tuple[str, ...] | None = None
    chart: str = ""
    reference_suffix: bool = False
    in_pixels: bool = False
    compares_several: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"expected a metric's name as an identifier, got {self.name!r}")
        if self.group not in GROUPS:
            raise ValueError(unknown_name("group of metrics", self.group, GROUPS))
        if self.function is None and self.kind not in ("evaluation", "intervention"):
            raise ValueError(f"expected a function for metric {self.name!r} of kind {self.kind!r}")

    @property
    def moves(self) -> bool:
        """Whether the name is logged with `_<reference>` behind it."""
        return self.kind == "movement" or self.reference_suffix

    @property
    def logged_names(self) -> tuple[str, ...]:
        """The names that are logged for one map, without tag, probe, method and layer."""
        if self.moves:
            return tuple(f"{self.name}_{reference}" for reference in REFERENCES)
        if self.kind == "mask":
            return (self.name, *(f"{self.name}_{baseline}" for baseline in BASELINES))
        return (self.name,)

    @property
    def headline_names(self) -> tuple[str, ...]:
        """The names that go to loggers by default; see `headline`."""
        return self.logged_names[:1] if self.headline is None else self.headline


METRICS: dict[str, Metric] = {}


def register_metric(metric: Metric) -> Metric:
    """Add a metric to the catalog, or replace the one of the same name."""
    METRICS[metric.name] = metric
    return metric


def metrics_of(*kinds: Kind) -> Iterator[Metric]:
    """Yield the metrics of some kinds, in the order in which they were registered."""
    return (metric for metric in METRICS.values() if metric.kind in kinds)


def grouped() -> dict[str, list[Metric]]:
    """Return the metrics by group, in the order of `GROUPS`, without empty groups."""
    found: dict[str, list[Metric]] = {group: [] for group in GROUPS}
    for metric in METRICS.values():
        found[metric.group].append(metric)
    return {group: some for group, some in found.items() if some}


def find_metric(name: str) -> tuple[Metric | None, str]:
    """Return the metric that a logged name belongs to, and its reference or baseline.

    Args:
        name: such as `jsd_previous` or `enrichment_random`, without tag, probe, method and layer.

    Returns:
        The metric and `previous` or `random`; an empty string where the name is the metric's own,
        and (None, "") where the catalog has no such metric.
    """
    if name in METRICS:
        return METRICS[name], ""
    for suffix in (*REFERENCES, *BASELINES):
        metric = METRICS.get(name.removesuffix(f"_{suffix}"))
        if metric is not None and name in metric.logged_names:
            return metric, suffix
    return None, ""


def title_of(name: str) -> str:
    """Return a logged name in words, such as `Divergence (JSD) from the previous evaluation`.

    Args:
        name: without the tag; a family (`gap/`), a method and a layer may follow or precede it.
    """
    plain, _, where = name.partition("/")
    if plain in (GAP, UNFLIPPED):
        family = "gap between probes" if plain == GAP else "prediction unchanged"
        return f"{title_of(where)}, {family}"
    metric, suffix = find_metric(plain)
    title = plain if metric is None else metric.title
    if suffix in REFERENCES:
        title += f" from {REFERENCES[suffix]}"
    elif suffix in BASELINES:
        title += f" of {BASELINES[suffix]}"
    return f"{title} ({where})" if where else title
