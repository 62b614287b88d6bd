"""`EXPECTED`: the layers that experts choose, written down before the automatic choice was made.

Sources: the Grad-CAM family's papers and the READMEs and issues of the usual packages, which take a
convolutional network's last spatial feature map before the pooling (`layer4`, `features`), the
`norm1` of a vision transformer's last block (after it only the class token counts), and a
hierarchical transformer's final norm or last stage. There are several names where experts differ; a
trailing glob covers a layer and the modules inside it. A choice agrees when its name, or the name
of another module that returns the same tensor, matches. Do not change this table to suit a choice.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from lightning_cam.explain.candidate_layers import candidate_layers, choose_layer
from lightning_cam.explain.targets import ClassTarget


@dataclass(frozen=True)
class Expected:
    """A model and the layers that experts choose.

    Attributes:
        library: `torchvision` or `timm`.
        model: its registered name.
        layers: names or globs, each of them right.
    """

    library: str
    model: str
    layers: tuple[str, ...]

    def agrees(self, names: Iterable[str]) -> bool:
        """Return whether one of the names of a choice is an expected one."""
        return any(fnmatch.fnmatchcase(n, wanted) for n in names for wanted in self.layers)


_TORCHVISION = {
    # The last convolution, its activation, or the pooling after it (`features[-1]`).
    "alexnet": ("features.10", "features.11", "features.12"),
    "vgg16": ("features.28", "features.29", "features.30"),
    "vgg19_bn": ("features.49", "features.50", "features.51", "features.52"),
    "resnet18": ("layer4",),
    "resnet50": ("layer4",),
    "resnext50_32x4d": ("layer4",),
    "wide_resnet50_2": ("layer4",),
    "densenet121": ("features",),
    "mobilenet_v2": ("features",),
    "mobilenet_v3_small": ("features",),
    "mobilenet_v3_large": ("features",),
    "efficientnet_b0": ("features",),
    "efficientnet_v2_s": ("features",),
    "convnext_tiny": ("features",),
    "googlenet": ("inception5b",),
    "inception_v3": ("Mixed_7c",),
    "squeezenet1_1": ("features",),
    "shufflenet_v2_x1_0": ("conv5",),
    "mnasnet1_0": ("layers",),
    "regnet_y_400mf": ("trunk_output",),
    "maxvit_t": ("blocks.3",),
    "swin_t": ("norm", "features.7.1.norm1"),
    "swin_v2_t": ("norm", "features.7.1.norm1"),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1",),
    "vit_b_32": ("encoder.layers.encoder_layer_11.ln_1",),
}

_TIMM = {
    "resnet50": ("layer4",),
    "res2net50_26w_4s": ("layer4",),
    # Experts differ on networks with pre-activation: the last sum or its normalized form.
    "resnetv2_50": ("norm", "stages", "stages.3"),
    "densenet121": ("features",),
    "vgg16": ("features.28", "features.29", "features.30"),
    "efficientnet_b0": ("conv_head", "bn2"),
    "mobilenetv3_large_100": ("blocks",),  # its last convolution comes after the pooling
    "ghostnet_100": ("blocks",),  # so does this one's
    "regnetx_002": ("s4",),
    "repvgg_a0": ("stages", "stages.3"),
    "dla34": ("level5",),
    "hrnet_w18_small": ("final_layer",),
    "legacy_xception": ("conv4", "bn4", "act4"),
    "xception41": ("blocks", "blocks.12", "act"),
    "inception_v4": ("features",),
    "inception_resnet_v2": ("conv2d_7b",),
    "dm_nfnet_f0": ("final_conv", "final_act"),
    "convnext_tiny": ("stages", "stages.3", "norm_pre"),
    "convmixer_768_32": ("blocks", "blocks.31"),
    "poolformer_s12": ("stages", "stages.3"),
    "mobilevit_xxs": ("final_conv",),
    # Vision transformers that classify by a class token: the last block's first norm is the last
    # place where patches influence the score.
    "vit_tiny_patch16_224": ("blocks.11.norm1",),
    "deit_tiny_distilled_patch16_224": ("blocks.11.norm1",),
    # These average the patches, so the output of the last block is right as well.
    "beit_base_patch16_224": ("blocks.11", "blocks.11.norm*", "norm"),
    "eva02_tiny_patch14_336": ("blocks.11", "blocks.11.norm*", "norm"),
    "mixer_s32_224": ("blocks", "blocks.7", "blocks.7.norm*", "norm"),
    "resmlp_12_224": ("blocks", "blocks.11", "blocks.11.norm*", "norm"),
    # After the self-attention, patches are only read, by class attention.
    "cait_xxs24_224": ("blocks", "blocks.23", "blocks_token_only.*.norm1"),
    "xcit_nano_12_p16_224": ("blocks.11", "cls_attn_blocks.*.norm1"),
    "coat_lite_tiny": ("cpe4", "serial_blocks4.1.norm1"),
    "swin_tiny_patch4_window7_224": ("norm", "layers.3.blocks.1.norm1"),
    "pvt_v2_b0": ("stages", "stages.3"),
    "twins_pcpvt_small": ("norm", "blocks.3.2"),
    "levit_128s": ("stages", "stages.2"),
    "efficientformer_l1": ("norm", "stages", "stages.3"),
    "mvitv2_tiny": ("norm", "stages.3"),
}

EXPECTED = [
    *(Expected("torchvision", model, layers) for model, layers in _TORCHVISION.items()),
    *(Expected("timm", model, layers) for model, layers in _TIMM.items()),
]


def chosen_layer(model: nn.Module, size: tuple[int, int]) -> list[str]:
    """Return the name of the layer that `"auto"` chooses, and other names of the same tensor."""
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    found = choose_layer(candidate_layers(model, images, ClassTarget()))
    return [found.name, *found.aliases]
