"""Values of Quantus 0.6.0 and pysaliency 0.2.22 for four small maps, recorded once.

Neither can be a development dependency: Quantus requires `opencv-python`, which overwrites the
headless `cv2` of this package, and pysaliency is only available as source that must be compiled. To
record again, in a temporary environment:

    pip install --no-deps quantus pandas pysaliency && python tests/helpers/quantus_values.py

prints the table below from the libraries themselves. Of pysaliency only `metrics.py` is loaded,
which is plain NumPy.
"""

import importlib.util
import pathlib
import warnings

import numpy as np

N, H, W = 4, 6, 5
PAIRS = [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]
QUANTUS = {
    "RelevanceMassAccuracy": [0.310765064, 0.418441603, 0.063324538, 0.583333333],
    "RelevanceRankAccuracy": [0.333333333, 0.416666667, 0.0, 0.5625],
    "PointingGame": [True, False, False, True],
    "AttributionLocalisation": [0.310765062, 0.418441603, 0.063324538, 0.583333171],
    "Complexity": [3.194407192, 2.980968891, 2.689441049, 3.121420818],
    "correlation_pearson": [0.726056438, 0.747294165, 0.800453161, 0.862698509, 0.842334941],
    "correlation_spearman": [0.806451613, 0.728774658, 0.800861605, 0.930032832, 0.869758763],
}
PYSALIENCY = {
    "CC": [0.726056438, 0.747294165, 0.800453161, 0.862698509, 0.842334941],
    "KLDiv to the mean": [0.054062417, 0.132222524, 0.041361495, 0.028778153, 0.098820491],
}


def four_maps():
    """Return (4, 6, 5) maps: plain, squared, half of it zero, full of ties."""
    maps = ((np.arange(N * H * W) * 37 + 11) % 101).reshape(N, H, W).astype(np.float64)
    maps[1] = maps[1] ** 2
    maps[2][maps[2] < 50] = 0
    maps[3] = np.round(maps[3] / 40)
    return maps


def four_masks():
    masks = np.zeros((N, H, W), dtype=bool)
    masks[0, 1:4, 1:4] = True
    masks[1, :, :2] = True
    masks[2, 5, 4] = True
    masks[3, 2:, 1:] = True
    return masks


def recorded():
    """Return both tables as computed by the two libraries."""
    warnings.simplefilter("ignore")
    import quantus

    maps, masks = four_maps(), four_masks()
    images, labels = np.zeros((N, 1, H, W)), np.zeros(N, dtype=int)
    common = {"model": None, "x_batch": images, "y_batch": labels, "channel_first": True}
    quiet = {"disable_warnings": True, "display_progressbar": False}
    found = {}
    for name in list(QUANTUS)[:5]:
        metric = getattr(quantus, name)(**quiet)
        wanted = {} if name == "Complexity" else {"s_batch": masks[:, None].copy()}
        found[name] = np.array(metric(**common, a_batch=maps[:, None].copy(), **wanted)).tolist()
    for name in list(QUANTUS)[5:]:
        same = getattr(quantus, name)
        found[name] = [float(same(maps[a].ravel(), maps[b].ravel())) for a, b in PAIRS]

    package = importlib.util.find_spec("pysaliency").origin
    spec = importlib.util.spec_from_file_location(
        "pysaliency_metrics", pathlib.Path(package).with_name("metrics.py")
    )
    saliency = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(saliency)
    shares = maps / maps.sum(axis=(1, 2), keepdims=True)
    divergence = []
    for a, b in PAIRS:
        middle = (shares[a] + shares[b]) / 2
        each = [saliency.image_based_kl_divergence(middle, shares[i]) for i in (a, b)]
        divergence.append(float(np.mean(each)))
    return found, {
        "CC": [float(saliency.CC(maps[a], maps[b])) for a, b in PAIRS],
        "KLDiv to the mean": divergence,
    }


if __name__ == "__main__":
    for table in recorded():
        for name, values in table.items():
            print(name, values)  # noqa: T201 - it is what the command is for
