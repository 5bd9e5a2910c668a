"""Self-attention: every place of a sequence asks all places, and takes a weighted mean of what they answer.

    Q, K, V = x W_q^T + b_q,  x W_k^T + b_k,  x W_v^T + b_v        questions, keys and values of L places
    A = softmax(Q K^T / sqrt(d))                                  (L, L): how much place i listens to place j
    Y = A V

A head does this in d dimensions. H heads side by side, d = E / H, listen to different things; a last linear
layer (``out_proj``) mixes what they heard. Paper: https://arxiv.org/abs/1706.03762
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core import init
from scratch_framework.core.argument_types import check_count, lead_of
from scratch_framework.core.checks import check_shape
from scratch_framework.core.linear import Linear
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter
from scratch_framework.core.softmax import Softmax

if TYPE_CHECKING:
    from torch import Generator, Tensor, device, dtype


class SelfAttention(Module):
    """What torch's ``MultiheadAttention(embed_dim, num_heads, batch_first=True)`` makes of (x, x, x).

    Parameters have its names, and its state_dict can be loaded. Queries, keys and values come from the one x,
    so that the layer has one input and one gradient, as all modules here do.
    Shapes: (N, L, E) to the same; with replicas R stands in front.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        bias: bool = True,
        is_causal: bool = False,
        replicas: int | None = None,
        device: device | str | None = None,
        dtype: dtype | None = None,
        generator: Generator | None = None,
    ) -> None:
        """Draw a layer by torch's rules.

        Args:
            embed_dim: Numbers E of each place.
            num_heads: Heads H, which divide E.
            bias: Whether to add biases.
            is_causal: Whether a place listens only to itself and those before it.
            replicas: R layers at once; None is one layer, without the leading dimension.
            device: Where the parameters live.
            dtype: Their type.
            generator: Source of the draws.
        """
        check_count(1, embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads {num_heads}, got {embed_dim}")
        self.embed_dim, self.num_heads, self.is_causal = embed_dim, num_heads, is_causal
        self.replicas = replicas
        self.lead = lead_of(replicas)
        self.out_proj = Linear(
            embed_dim, embed_dim, bias, replicas=replicas, device=device, dtype=dtype, generator=generator
        )
        weight = empty(*self.lead, 3 * embed_dim, embed_dim, device=device, dtype=dtype)
        self.in_proj_weight = Parameter(weight, replicas)  # W_q, W_k and W_v, one below the other
        init.xavier_uniform_(weight, generator=generator, replicas=replicas)
        self.in_proj_bias = None
        if self.out_proj.bias is not None:
            self.in_proj_bias = Parameter(weight.new_zeros(*self.lead, 3 * embed_dim), replicas)
            self.out_proj.bias.value.zero_()
        self.softmax = Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute Y head by head, and mix the heads."""
        check_shape(
            self, "input", x, (*self.lead, "N", "L", self.embed_dim), weight=self.in_proj_weight.value
        )
        points = x.flatten(-3, -2)  # (..., N L, E)
        projected = points.matmul(self.in_proj_weight.value.mT)  # (..., N L, 3 E)
        if self.in_proj_bias is not None:
            projected.add_(self.in_proj_bias.value.unsqueeze(-2))
        q, k, v = (self._split(part, x.shape) for part in projected.chunk(3, -1))  # (..., N, H, L, d)
        scores = q.matmul(k.mT) / math.sqrt(q.shape[-1])  # (..., N, H, L, L)
        if self.is_causal:
            scores.masked_fill_(scores.new_ones(scores.shape[-2:]).triu(1) != 0, float("-inf"))
        weights = self.softmax(scores)
        y = self.out_proj(self._join(weights.matmul(v))).view(x.shape)
        return self.save_for_backward((points, q, k, v, weights), y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """Differentiate Y = A V, A = softmax(S), S = Q K^T / sqrt(d), given G = dL/dY of one head.

        Y and S are products of matrices, each of which depends on both of its factors as a linear layer does
        on input and weight:

            dL/dV = A^T G        dL/dA = G V^T                 a value goes to all places that listen to it
            dL/dQ = dL/dS K / sqrt(d)        dL/dK = (dL/dS)^T Q / sqrt(d)

        Between them lies the softmax, whose `backward` gives dL/dS. It is 0 where a place does not listen.
        x is the input of three linear layers, so dL/dx = dL/dQ W_q + dL/dK W_k + dL/dV W_v: one product, as
        the three weights are one matrix.
        """
        points, q, k, v, weights = self.saved(grad_output)
        shape = grad_output.shape
        grad = self._split(self.out_proj.backward(grad_output.flatten(-3, -2)), shape)  # G
        grad_v = weights.mT.matmul(grad)
        grad_scores = self.softmax.backward(grad.matmul(v.mT)) / math.sqrt(q.shape[-1])
        grad_q, grad_k = grad_scores.matmul(k), grad_scores.mT.matmul(q)
        projected = points.new_empty(*points.shape[:-1], 3 * self.embed_dim)
        for part, one in zip(projected.chunk(3, -1), (grad_q, grad_k, grad_v), strict=True):
            part.copy_(self._join(one))
        self.in_proj_weight.grad.add_(projected.mT.matmul(points))
        if self.in_proj_bias is not None:
            self.in_proj_bias.grad.add_(projected.sum(-2))
        return projected.matmul(self.in_proj_weight.value).view(shape)

    def _split(self, points: Tensor, shape: tuple[int, ...]) -> Tensor:
        """View (..., N L, E) head by head: (..., N, H, L, d)."""
        return points.unflatten(-1, (self.num_heads, -1)).unflatten(-3, shape[-3:-1]).transpose(-3, -2)

    def _join(self, heads: Tensor) -> Tensor:
        """Lay the heads of a place side by side again: (..., N L, E)."""
        return heads.transpose(-3, -2).flatten(-2).flatten(-3, -2)

    def extra_repr(self) -> str:
        """The arguments."""
        causal = ", is_causal=True" if self.is_causal else ""
        replicas = "" if self.replicas is None else f", replicas={self.replicas}"
        return f"{self.embed_dim}, {self.num_heads}{causal}{replicas}"
