"""The image models of torchvision, timm and transformers: built without weights, and small."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

CLASSES = 10
_SIDE = 128  # of the images for transformers' small configs
_TIMM_LARGE = 400  # from here on, timm's models are built for smaller images
_TIMM_SIDE = 224
_WINDOWED_SIDE = 224  # of those whose windows fit no other
_COPIES = 4  # of the parameters that maps of a large model need room for, with activations


class OutOfScopeError(Exception):
    """The model has no map of an image, or needs what this machine does not have."""


@dataclass(frozen=True)
class Entry:
    """One model of a library.

    Attributes:
        library: torchvision, timm or transformers.
        family: the module of the library that registers it.
        name: in the library.
        build: returns the model and the height and width of its images; raises `OutOfScopeError`.
    """

    library: str
    family: str
    name: str
    build: Callable[[], tuple[nn.Module, tuple[int, int]]]


def _excluded(library: str, family: str, name: str, reason: str) -> Entry:
    def build() -> tuple[nn.Module, tuple[int, int]]:
        raise OutOfScopeError(reason)

    return Entry(library, family, name, build)


# --- torchvision ---------------------------------------------------------------------------------

_OTHER_KINDS = {
    "quantization": "8-bit integers have no gradients",
    "video": "takes clips, not images",
    "optical_flow": "takes pairs of images and has no score",
}
# With random weights no box has a score above 0.05, the default threshold.
_DETECTORS = {
    "fasterrcnn": {"box_score_thresh": 0.0, "box_detections_per_img": 10},
    "maskrcnn": {"box_score_thresh": 0.0, "box_detections_per_img": 10},
    "keypointrcnn": {"box_score_thresh": 0.0, "box_detections_per_img": 10},
    "retinanet": {"score_thresh": 0.0, "detections_per_img": 10},
    "fcos": {"score_thresh": 0.0, "detections_per_img": 10},
    "ssd300": {"score_thresh": 0.0, "detections_per_img": 10},
    "ssdlite320": {"score_thresh": 0.0, "detections_per_img": 10},
}


def torchvision_entries() -> Iterator[Entry]:
    """Yield all classifiers, segmentation and detection models, and why others are left out."""
    from torchvision import models

    for name in models.list_models(module=models):
        family = models.get_model_builder(name).__module__.rpartition(".")[2]
        yield Entry("torchvision", family, name, functools.partial(torchvision_model, name))
    for kind in ("segmentation", "detection"):
        for name in models.list_models(module=getattr(models, kind)):
            yield Entry("torchvision", kind, name, functools.partial(torchvision_model, name))
    for kind, reason in _OTHER_KINDS.items():
        for name in models.list_models(module=getattr(models, kind)):
            yield _excluded("torchvision", kind, name, reason)


def torchvision_model(name: str) -> tuple[nn.Module, tuple[int, int]]:
    """Return a classifier, segmentation model or detector of torchvision, and the image size."""
    from torchvision import models

    weights = next(iter(models.get_model_weights(name)))
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = _COPIES * 4 * weights.meta["num_params"]
    if needed > free:
        raise OutOfScopeError(f"needs about {needed >> 30} GiB of memory, {free >> 30} are free")
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # drawing them by SciPy takes a minute
    kind = models.get_model_builder(name).__module__
    if ".detection" in kind or ".segmentation" in kind:
        options["weights_backbone"] = None
        options |= _DETECTORS.get(name.partition("_")[0], {})
        if "rcnn" in name or "retinanet" in name or "fcos" in name:
            options |= {"min_size": 224, "max_size": 320}
    side = {"inception_v3": 299, "ssd300_vgg16": 300}.get(name, 224)
    model = models.get_model(name, weights=None, **options)
    if name == "ssd300_vgg16":
        # Its random scores are so large that a softmax of them has no gradient.
        for parameter in model.head.classification_head.parameters():
            parameter.data *= 0.01
    return model, (side, side)


# --- timm ----------------------------------------------------------------------------------------

# The smallest of each family, and more where a family has different architectures. Of families
# that a newer timm adds, the first model is taken.
_TIMM = """
    beit_base_patch16_224 beitv2_base_patch16_224 halonet_h1 botnet26t_256 lambda_resnet26t
    mobileone_s1 repvgg_a0 resnet51q gernet_s regnetz_b16 cait_xxs24_224 coat_tiny
    coat_lite_tiny convit_tiny convmixer_768_32 convnext_zepto_rms convnext_tiny convnextv2_atto
    cpubone_nano crossvit_tiny_240 csatv2 cs3darknet_focus_s cspdarknet53 cspresnet50
    cspnext_tiny davit_tiny deepseek_vit_412m deit_tiny_patch16_224
    deit_tiny_distilled_patch16_224 deit3_small_patch16_224 densenet121 dla46x_c dla34 dpn48b
    edgenext_xx_small efficientformer_l1 efficientformerv2_s0 mobilenetv2_035 efficientnet_lite0
    mnasnet_100 mixnet_s efficientnet_b0 tf_efficientnetv2_b0 efficientvim_m1
    efficientvim_m1_dist efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_336
    eva02_tiny_patch14_224 vit_small_patch16_dinov3 fasternet_t0 fastvit_t8 fastvit_sa12
    focalnet_tiny_srf gcvit_xxtiny gemma4_vit_167m ghostnet_050 hardcorenas_b hgnetv2_b0
    hiera_tiny_224 hieradet_small hrnet_w18_small iformer_t inception_next_atto
    inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small levit_128s levit_conv_128s
    lowformer_b0 mambaout_femto maxvit_pico_rw_256 coatnet_nano_rw_224 maxxvit_rmlp_nano_rw_256
    maxvit_rmlp_pico_rw_256 poolformerv2_s12 caformer_s18 convformer_s18 gmlp_ti16_224
    mixer_s32_224 resmlp_12_224 gmixer_12_224 mobilenetv3_small_050 mobilenetv3_large_100
    fbnetv3_b mobilenetv5_base mobilevit_xxs mobilevitv2_050 mvitv2_tiny mvitv2_small_cls
    naflexvit_base_patch16_parfac_gap naflexvit_base_patch16_map nasnetalarge nest_tiny
    nextvit_small nf_regnet_b0 dm_nfnet_f0 nf_resnet50 pit_ti_224 pit_ti_distilled_224
    pnasnet5large pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnetx_002 regnetv_040 repghostnet_050
    repvit_m1 res2next50 resnest14d resnet10t resnet18 resnet50 seresnext26d_32x4d
    wide_resnet50_2 resnetv2_18 resnetv2_50 rexnet_100 selecsls42 legacy_seresnet18
    sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224
    swin_s3_tiny_224 swinv2_tiny_window16_256 swinv2_cr_tiny_224 tiny_vit_5m_224
    tnt_s_legacy_patch16_224 tresnet_m twins_svt_small twins_pcpvt_small vgg11 visformer_tiny
    vit_tiny_patch16_224 vit_base_patch16_siglip_gap_224 vit_base_patch32_clip_224
    vit_small_patch14_reg4_dinov2 vit_base_patch16_siglip_224 flexivit_small
    vit_wee_patch16_reg1_gap_256 vit_tiny_r_s16_p8_224 vit_srelpos_small_patch16_224
    vit_relpos_small_patch16_224 samvit_base_patch16_224 vitamin_small_224 volo_d1_224
    ese_vovnet19b_slim_dw legacy_xception xception41p xception41 xcit_nano_12_p8_224
    xcit_nano_12_p16_224
"""


def timm_entries() -> Iterator[Entry]:
    """Yield at least one model of each family."""
    import timm

    for family in timm.list_modules():
        members = timm.list_models(module=family)
        for name in [name for name in _TIMM.split() if name in members] or members[:1]:
            yield Entry("timm", family, name, functools.partial(timm_model, name))


def timm_model(name: str) -> tuple[nn.Module, tuple[int, int]]:
    """Return a model of timm and the size of its images."""
    import timm

    side = timm.get_pretrained_cfg(name).input_size[1]
    if side <= _TIMM_LARGE:
        return timm.create_model(name, num_classes=CLASSES), (side, side)
    try:
        model = timm.create_model(name, num_classes=CLASSES, img_size=_TIMM_SIDE)
    except TypeError:  # a convolutional network, for images of any size
        model = timm.create_model(name, num_classes=CLASSES)
    return model, (_TIMM_SIDE, _TIMM_SIDE)


# --- transformers --------------------------------------------------------------------------------

_NO_IMAGES = {
    "ImageGPTConfig": "takes colour clusters as integers, so no gradient reaches the pixels",
    "ShieldGemma2Config": "a language model that answers yes or no to a prompt with an image",
}
_SMALL_BLOCKS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_SMALL: dict[str, dict[str, Any]] = {
    "EfficientNetConfig": {
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "hidden_dim": 1280,
        "image_size": _SIDE,
    },
    "PerceiverConfig": {
        "num_latents": 16,
        "d_latents": 64,
        "d_model": 64,
        "num_self_attends_per_block": 2,
        "num_cross_attention_heads": 1,  # as published
        "image_size": 56,  # the configuration's own
    },
    "TimmWrapperConfig": {"architecture": "resnet18"},
}


def transformers_entries() -> Iterator[Entry]:
    """Yield every image classifier of the library."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    for config, found in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING.items():
        for kind in found if isinstance(found, tuple) else (found,):
            name, family = kind.__name__, config.model_type
            if config.__name__ in _NO_IMAGES:
                yield _excluded("transformers", family, name, _NO_IMAGES[config.__name__])
            else:
                build = functools.partial(transformers_model, name)
                yield Entry("transformers", family, name, build)


def transformers_model(name: str) -> tuple[nn.Module, tuple[int, int]]:
    """Return a classifier of transformers with a small configuration, and the image size."""
    import transformers

    kind = getattr(transformers, name)
    config = kind.config_class
    small = _shrunk(config().to_dict()) | _SMALL.get(config.__name__, {})
    built = config(num_labels=CLASSES, **small)
    try:
        model = kind(built)
    except ImportError as error:
        raise OutOfScopeError(
            "needs a package that is not installed: " + " ".join(f"{error}".split())
        ) from error
    side = getattr(built, "image_size", None) or small.get("vision_config", {}).get("image_size")
    side = side if isinstance(side, int) else _SIDE
    if "Perceiver" in kind.__name__ and "Learned" not in kind.__name__:
        side = 224  # fixed in the model
    if config.__name__ == "Siglip2Config":
        model = _Packed(model, built.vision_config.patch_size)
    return model, (side, side)


def _shrunk(config: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a default configuration to change, so that the model is small."""
    small: dict[str, Any] = {}
    if all(isinstance(config.get(key), int) for key in ("hidden_size", "num_hidden_layers")):
        small |= {key: value for key, value in _SMALL_BLOCKS.items() if key in config}
    if isinstance(config.get("depths"), Sequence) and "dilations" not in config:
        small["depths"] = [min(2, depth) for depth in config["depths"]]
    if "image_size" in config:
        square = isinstance(config["image_size"], int)
        side = _SIDE if "window_size" not in config else _WINDOWED_SIDE
        small["image_size"] = side if square else [side, side]
    for part in ("vision_config", "text_config"):
        if isinstance(config.get(part), dict):
            small[part] = _shrunk(config[part])
    return small


class _Packed(nn.Module):
    """Cuts an image into patches, for a model whose image processor does so."""

    def __init__(self, model: nn.Module, patch: int) -> None:
        super().__init__()
        self.model = model
        self.patch = patch

    def forward(self, images: torch.Tensor) -> Any:
        h, w = images.shape[2] // self.patch, images.shape[3] // self.patch
        patches = nn.functional.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
        mask = torch.ones(len(images), h * w, dtype=torch.long)
        shapes = torch.tensor([[h, w]] * len(images))
        return self.model(patches, pixel_attention_mask=mask, spatial_shapes=shapes)


BUILDERS = {
    "torchvision": torchvision_model,
    "timm": timm_model,
    "transformers": transformers_model,
}
LIBRARIES = {
    "torchvision": torchvision_entries,
    "timm": timm_entries,
    "transformers": transformers_entries,
}


def has_model(library: str, name: str) -> bool:
    """Return whether a library is installed in a version that has a model."""
    try:
        if library == "torchvision":
            from torchvision import models

            return name in models.list_models()
        if library == "timm":
            import timm

            return bool(timm.is_model(name))
        import transformers
    except ImportError:
        return False
    return hasattr(transformers, name)
