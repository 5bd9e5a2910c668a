"""Layers of torch that have no grouped form of their own, for R replicas side by side.

Activations are (N, R * D, ...), as in layers.py: replica r owns the r-th block of dimension 1. Parameters
have R blocks along their first dimension, under the names that torch gives them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.layers import Linear, multiply_each, with_plain_gradient


class LayerNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016), each replica with its own weights."""

    def __init__(self, like: nn.LayerNorm, replicas: int) -> None:
        """Lay out R layers.

        Args:
            like: The ordinary layer.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.normalized_shape, self.eps, self.replicas = like.normalized_shape, like.eps, replicas
        self.weight = _blocks_like(like.weight, replicas)
        self.bias = _blocks_like(like.bias, replicas)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimensions of (N, R * D, ...); D may be one of them."""
        x = x.unflatten(1, (self.replicas, -1))
        y = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        ones = [1] * (x.dim() - 2 - len(self.normalized_shape))
        if self.weight is not None:
            y = y * self.weight.view(self.replicas, *ones, *self.normalized_shape)
        if self.bias is not None:
            y = y + self.bias.view(self.replicas, *ones, *self.normalized_shape)
        return y.flatten(1, 2)


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He 2018) with R times the groups."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, R * C, ...)."""
        # torch crashes in the backward pass of channels-last input that needs no gradient itself. Of maps of
        # one pixel it takes even contiguous ones for such, by their strides, which only a copy sets anew.
        if torch.is_grad_enabled() and not x.requires_grad:
            x = x.clone(memory_format=torch.contiguous_format)
        return super().forward(x)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation (Ulyanov et al. 2016) with R times the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, R * C, H, W)."""
        return with_plain_gradient(super().forward(x))


class InstanceNorm3d(nn.InstanceNorm3d):
    """The same for (N, R * C, D, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise them."""
        return with_plain_gradient(super().forward(x))


class PReLU(nn.Module):
    """ReLU whose slope below 0 is learnt, one slope or one a channel for each replica."""

    def __init__(self, like: nn.PReLU, replicas: int) -> None:
        """Lay out R layers.

        Args:
            like: The ordinary layer.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.replicas = replicas
        self.weight = _blocks(like.weight, replicas)

    def forward(self, x: Tensor) -> Tensor:
        """Bend (N, R * D, ...)."""
        slopes = self.weight.view(self.replicas, -1).expand(-1, x.shape[1] // self.replicas)
        return (
            F.prelu(x, slopes.flatten()) if self.weight.numel() == self.replicas else F.prelu(x, self.weight)
        )


class Embedding(nn.Module):
    """A table of vectors for each replica, from (N, R * L) to (N, R * L, E)."""

    def __init__(self, like: nn.Embedding, replicas: int) -> None:
        """Lay out R tables.

        Args:
            like: The ordinary layer.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.replicas, self.padding_idx = replicas, like.padding_idx
        self.scale_grad_by_freq = like.scale_grad_by_freq
        self.weight = _blocks(like.weight, replicas)

    def forward(self, x: Tensor) -> Tensor:
        """Look up (N, R * L, ...); an index out of range is refused, as torch does."""
        rows = len(self.weight) // self.replicas
        if x.numel() and not (int(x.min()) >= 0 and int(x.max()) < rows):
            raise IndexError(f"an index of an embedding must lie in 0..{rows - 1}")
        first = torch.arange(self.replicas, device=x.device) * rows  # of each replica's rows
        x = x.unflatten(1, (self.replicas, -1))
        numbers = x + first.view(-1, *[1] * (x.dim() - 2))
        weight: Tensor = self.weight
        if self.padding_idx is not None:  # this row has no gradient
            padding = torch.zeros(rows, 1, dtype=torch.bool, device=x.device)
            padding[self.padding_idx] = True
            weight = torch.where(padding.repeat(self.replicas, 1), weight.detach(), weight)
        return F.embedding(numbers.flatten(1, 2), weight, scale_grad_by_freq=self.scale_grad_by_freq)


class Bilinear(nn.Module):
    """A bilinear layer for each replica, from (N, R * F) and (N, R * G) to (N, R * out_features)."""

    def __init__(self, like: nn.Bilinear, replicas: int) -> None:
        """Lay out R layers.

        Args:
            like: The ordinary layer.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.replicas = replicas
        self.weight = _blocks(like.weight, replicas)
        self.bias = _blocks_like(like.bias, replicas)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Multiply the features of every replica."""
        first, second = (x.unflatten(1, (self.replicas, -1)) for x in (first, second))
        weight = self.weight.unflatten(0, (self.replicas, -1))  # (R, out, F, G)
        y = torch.einsum("nri,roij,nrj->nro", first, weight, second).flatten(1)
        return y if self.bias is None else y + self.bias


class PerSample(nn.Module):
    """Any layer without parameters that treats each sample by itself: it sees N * R samples."""

    def __init__(self, layer: nn.Module, replicas: int) -> None:
        """Wrap a layer.

        Args:
            layer: The ordinary layer, such as a softmax over channels.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.layer, self.replicas = layer, replicas

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to each replica's (N, D, ...) of (N, R * D, ...)."""
        y = self.layer(x.unflatten(1, (self.replicas, -1)).flatten(0, 1))  # (N * R, ...)
        y = y.unflatten(0, (-1, self.replicas))
        return y.flatten(1, 2) if y.dim() > 2 else y


class MultiheadAttention(nn.Module):
    """Self- or cross-attention (Vaswani et al. 2017) of each replica, batches first, (N, R * L, E)."""

    batch_first = True
    _qkv_same_embed_dim = False  # keeps nn.TransformerEncoderLayer off its fast path, which knows no replicas

    def __init__(self, like: nn.MultiheadAttention, replicas: int) -> None:
        """Lay out R layers.

        Args:
            like: The ordinary layer.
            replicas: Number of replicas R.
        """
        super().__init__()
        self.embed_dim, self.num_heads, self.replicas = like.embed_dim, like.num_heads, replicas
        self.in_proj_weight = _blocks(like.in_proj_weight, replicas)
        self.in_proj_bias = _blocks_like(like.in_proj_bias, replicas)
        self.out_proj = Linear(like.embed_dim, like.embed_dim, replicas, like.out_proj.bias is not None)
        self.attention_dropout = Dropout(like.dropout, replicas) if like.dropout else nn.Identity()

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, as torch's layer does; the arguments are its.

        Raises:
            ValueError: There is an ``attn_mask``, whose form with replicas is not known.
        """
        if attn_mask is not None or is_causal:
            raise ValueError("MultiheadAttention with replicas takes no attn_mask")
        q, k, v = (
            self._project(x, part) for part, x in enumerate((query, key, value))
        )  # (N, R * H, L, E / H)
        mask = None
        if key_padding_mask is not None:  # (N, R * S), true or -inf where a key is left out
            mask = key_padding_mask.unflatten(1, (self.replicas, 1, 1, -1))
            mask = mask.expand(-1, -1, self.num_heads, -1, -1).flatten(1, 2)
            mask = ~mask if mask.dtype == torch.bool else mask
        if not need_weights and not (self.training and isinstance(self.attention_dropout, Dropout)):
            return self._join(F.scaled_dot_product_attention(q, k, v, mask)), None
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        weights = self.attention_dropout(scores.softmax(-1))  # (N, R * H, L, S)
        joined = self._join(weights @ v)
        if not need_weights:
            return joined, None
        shown = weights.unflatten(1, (self.replicas, -1))  # (N, R, H, L, S)
        return joined, shown.mean(2).flatten(1, 2) if average_attn_weights else shown.flatten(1, 2)

    def _project(self, x: Tensor, part: int) -> Tensor:
        """Queries, keys or values of all heads (N, R * H, L, E / H), from (N, R * L, E)."""
        weight = self.in_proj_weight.unflatten(0, (self.replicas, 3, -1))[:, part].flatten(0, 1)
        bias = self.in_proj_bias
        if bias is not None:
            bias = bias.unflatten(0, (self.replicas, 3, -1))[:, part].flatten()
        y = multiply_each(x, weight, bias, self.replicas).unflatten(1, (self.replicas, -1))  # (N, R, L, E)
        return y.unflatten(-1, (self.num_heads, -1)).transpose(2, 3).flatten(1, 2)

    def _join(self, heads: Tensor) -> Tensor:
        """(N, R * L, E) from all heads (N, R * H, L, E / H)."""
        parts = heads.unflatten(1, (self.replicas, -1)).transpose(2, 3)  # (N, R, L, H, E / H)
        joined: Tensor = self.out_proj(parts.flatten(3).flatten(1, 2))
        return joined


def _blocks(like: Tensor, replicas: int) -> nn.Parameter:
    return nn.Parameter(like.detach().repeat(replicas, *[1] * (like.dim() - 1)))


def _blocks_like(like: Tensor | None, replicas: int) -> nn.Parameter | None:
    return None if like is None else _blocks(like, replicas)
