"""Embedding: a table with one row of numbers for each word. Training moves the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import empty

from scratch_framework.core.argument_types import check_count, lead_of
from scratch_framework.core.checks import check_shape
from scratch_framework.core.left_out import LeftOut, leaves_out
from scratch_framework.core.module import Module
from scratch_framework.core.parameter import Parameter

if TYPE_CHECKING:
    from torch import Generator, Tensor, device, dtype


@leaves_out(
    max_norm=LeftOut(None, "weight.value.copy_(weight.value.renorm(norm_type, 0, max_norm)) before forward"),
    norm_type=LeftOut(2.0, "renorm, as for max_norm"),
    scale_grad_by_freq=LeftOut(False, "weight.grad, divided row by row by how often the word occurs"),
    sparse=LeftOut(False, "weight.grad, in which the rows of other words are 0"),
    _weight=LeftOut(None, "load_state_dict"),
    _freeze=LeftOut(False, "an optimizer that is not given the weight"),
)
class Embedding(Module):
    """y_n = W_x_n: row x_n of the table W, (V, D), drawn from N(0, 1) as in torch.

    Shapes: whole numbers (...) to (..., D); with replicas (R, ...) to (R, ..., D).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        replicas: int | None = None,
        device: device | str | None = None,
        dtype: dtype | None = None,
        generator: Generator | None = None,
    ) -> None:
        """Draw a table.

        Args:
            num_embeddings: Words V.
            embedding_dim: Numbers D of each.
            padding_idx: A word that stands for none: its row starts with 0 and is not trained.
            replicas: R tables at once; None is one, without the leading dimension.
            device: Where the parameters live.
            dtype: Their type.
            generator: Source of the draws.
        """
        check_count(1, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx must be one of {num_embeddings} words, got {padding_idx}")
        self.num_embeddings, self.embedding_dim, self.replicas = num_embeddings, embedding_dim, replicas
        self.padding_idx = padding_idx if padding_idx is None else padding_idx % num_embeddings
        self.lead = lead_of(replicas)
        table = empty(*self.lead, num_embeddings, embedding_dim, device=device, dtype=dtype)
        self.weight = Parameter(table.normal_(generator=generator), replicas)
        if padding_idx is not None:
            self.weight.value.select(-2, padding_idx).zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Look the rows up."""
        check_shape(self, "input", x, (*self.lead, "..."))
        if x.is_floating_point() or x.is_complex():
            raise ValueError(f"Embedding: the input must hold words as whole numbers, got {x.dtype}")
        if x.numel() and not 0 <= int(x.min()) <= int(x.max()) < self.num_embeddings:
            wrong = int(x.min()) if int(x.min()) < 0 else int(x.max())
            raise ValueError(f"Embedding: the input must lie in 0..{self.num_embeddings - 1}, got {wrong}")
        rows = x.long()
        if self.replicas is not None:  # the tables of all replicas, one below the other
            first = rows.new_ones(self.replicas).cumsum(0).sub_(1).mul_(self.num_embeddings)
            rows = rows + first.view(-1, *[1] * (x.dim() - 1))
        y = self.weight.value.view(-1, self.embedding_dim)[rows]
        return self.save_for_backward(rows, y)

    def backward(self, grad_output: Tensor) -> Tensor:
        """dL/dW_v = sum of dL/dy_n over the places n that hold the word v.

        The table is a linear layer whose input is 1 at the word and 0 elsewhere: y = onehot(x) W, and so
        dL/dW = onehot(x)^T dL/dy. To pick rows and to add to rows is the same without the zeros. The input
        is no quantity and has no gradient: NaN is returned, so that a mistaken use shows.
        """
        rows = self.saved(grad_output)
        grads, words = grad_output.reshape(-1, self.embedding_dim), rows.flatten()
        if self.padding_idx is not None:
            grads = grads.where((words % self.num_embeddings != self.padding_idx).unsqueeze(-1), 0)
        self.weight.grad.view(-1, self.embedding_dim).index_add_(0, words, grads)
        return grad_output.new_full((), float("nan")).expand(rows.shape)

    def extra_repr(self) -> str:
        """The arguments, as torch prints them."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        replicas = "" if self.replicas is None else f", replicas={self.replicas}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{replicas}"
