"""Attention maps from explicit matrices, softmax(q kᵀ / √d) of each block."""

import torch
from torch import nn


class PlainAttention(nn.Module):
    """Self-attention that keeps its matrix, with weights of torchvision or timm."""

    def __init__(self, qkv_weight, qkv_bias, project, heads):
        super().__init__()
        self.qkv = lambda x: nn.functional.linear(x, qkv_weight, qkv_bias)
        self.project = project
        self.heads = heads

    def forward(self, x, *_args, **_kwargs):
        batch, count, width = x.shape
        q, k, v = self.qkv(x).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        self.matrix = (q @ k.mT / (width // self.heads) ** 0.5).softmax(-1)
        return self.project((self.matrix @ v).transpose(1, 2).reshape(batch, count, width))


class Pair(nn.Module):
    """Returns what `nn.MultiheadAttention` does: the output and no weights."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args), None


def replace_attention(net):
    """Replace the attention of a transformer's blocks by `PlainAttention`, which is returned."""
    plain = []
    for block in net.encoder.layers if hasattr(net, "encoder") else net.blocks:
        if hasattr(block, "self_attention"):
            old = block.self_attention
            new = PlainAttention(old.in_proj_weight, old.in_proj_bias, old.out_proj, old.num_heads)
            block.self_attention = Pair(new)
        else:
            old = block.attn
            new = PlainAttention(old.qkv.weight, old.qkv.bias, old.proj, old.num_heads)
            block.attn = new
        plain.append(new)
    return plain


def read_out(relevance, prefix):
    """Return the row of the class token, or the mean row without one, as square maps."""
    row = relevance[:, 0] if prefix else relevance.mean(1)
    side = round((row.shape[1] - prefix) ** 0.5)
    return row[:, prefix:].reshape(-1, side, side).detach()


def rollout(net, images, classes, prefix):
    plain = replace_attention(net)
    net(images)
    eye = joint = torch.eye(plain[0].matrix.shape[-1], dtype=images.dtype)
    for attention in plain:
        joint = (attention.matrix.mean(1) + eye) / 2 @ joint
    return read_out(joint, prefix)


def gradient_attention(net, images, classes, prefix):
    plain = replace_attention(net)
    scores = net(images).gather(1, classes[:, None]).sum()
    grads = torch.autograd.grad(scores, [attention.matrix for attention in plain])
    eye = torch.eye(grads[0].shape[-1], dtype=images.dtype)
    relevance = eye.expand(len(images), -1, -1)
    for attention, grad in zip(plain, grads, strict=True):
        relevance = relevance + (attention.matrix * grad).relu().mean(1) @ relevance
    return read_out(relevance - eye, prefix)
