"""Replicas by `torch.func.vmap`: right for any forward, and slower than replicas side by side.

`torch.func` runs the ordinary net's own code once, with R values of each tensor. Batch normalisation keeps
the statistics of each replica; dropout layers are exchanged for ones that draw from each replica's own
stream.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from lightning_modules.replicas.dropout import ChannelDropout, Dropout
from lightning_modules.replicas.registry import DRAWING, NoWideFormError, widen

NO_RULE = (nn.RNNBase, nn.LSTMCell)  # layers that torch.func.vmap cannot run


class _Mask(torch.autograd.Function):
    """The mask of a dropout layer within vmap, where (N, ...) stands for R of them."""

    @staticmethod
    def forward(x: Tensor, layer: Dropout) -> Tensor:
        raise ValueError("dropout within vmap needs values that depend on the input or the weights")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: a mask has no gradient."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, layer: Dropout) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        x = x.movedim(in_dims[0], 1)  # (N, R, D, ...)
        mask = layer.mask(x.flatten(1, 2) if x.dim() > 2 else x)
        return (mask.unflatten(1, (layer.replicas, -1)) if x.dim() > 2 else mask), 1


class _InVmap(Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return x * _Mask.apply(x.detach(), self) if self.training else x  # type: ignore[no-untyped-call]


class _ChannelsInVmap(ChannelDropout, _InVmap):
    pass


class _PaddedEmbedding(nn.Embedding):
    """An embedding whose padding row has no gradient by vmap either, which forgets that."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as torch calls it
        assert self.padding_idx is not None
        rows = super().forward(input)
        return torch.where(input.eq(self.padding_idx).unsqueeze(-1), rows.detach(), rows)


CHANNEL_DROPOUTS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def with_streams(net: nn.Module, replicas: int) -> nn.Module:
    """A copy of an ordinary net, whose dropout layers draw for R replicas.

    Args:
        net: The ordinary net.
        replicas: Number of replicas R.

    Raises:
        ValueError: A layer cannot be run by vmap, or draws random numbers without a stream of each replica.
    """
    for part in net.modules():
        if isinstance(part, NO_RULE):
            raise ValueError(
                f"{type(part).__name__} cannot be replicated: torch.func.vmap does not know it; take"
                " nn.GRUCell, nn.RNNCell or attention, or register a form of it with replicas"
            )
    net, made = copy.deepcopy(net), dict[int, nn.Module]()
    for parent in list(net.modules()):
        for name, layer in parent._modules.items():
            if layer is not None:
                parent._modules[name] = made.setdefault(id(layer), _with_streams(layer, replicas))
    return net


def _with_streams(layer: nn.Module, replicas: int) -> nn.Module:
    kind, drawing = type(layer), layer
    if getattr(layer, "sparse", False):
        raise ValueError(f"{kind.__name__} with sparse gradients cannot be replicated; take sparse=False")
    if isinstance(layer, nn.Dropout) and kind is nn.Dropout:
        drawing = _InVmap(layer.p, replicas)
    elif isinstance(layer, CHANNEL_DROPOUTS) and kind in CHANNEL_DROPOUTS:
        drawing = _ChannelsInVmap(layer.p, replicas)
    elif kind is nn.Embedding and layer.padding_idx is not None:
        drawing = copy.copy(layer)
        drawing.__class__ = _PaddedEmbedding
    elif isinstance(layer, DRAWING):
        raise ValueError(
            f"{kind.__name__} cannot be replicated: no replica has a stream of random numbers for it; take"
            " nn.Dropout or nn.Dropout1d to 3d, or register a form of it with replicas"
        )
    elif isinstance(layer, nn.MultiheadAttention) and layer.dropout:
        try:
            drawing = widen(layer, 1)  # whose dropout is a layer
        except NoWideFormError as why:
            raise ValueError(f"dropout within attention cannot be replicated: {why}") from why
        drawing.attention_dropout = _InVmap(layer.dropout, replicas)
    return drawing.train(layer.training)


def call_by_vmap(
    net: nn.Module, shapes: Mapping[str, Size], replicas: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call R replicas of a net.

    Args:
        net: As `with_streams` gives it, but its tensors hold R blocks along their first dimension.
        shapes: The ordinary shape of each of its tensors, by name.
        replicas: Number of replicas R.
        args: Inputs, each (N, R, ...).
        kwargs: Inputs by name, each (N, R, ...).

    Returns:
        What the ordinary net returns, each tensor (N, R, ...), or (R,) where the ordinary one is a scalar.

    Raises:
        ValueError: The net draws random numbers that are not a dropout layer's, or vmap cannot compute it.
    """
    own, shared = dict[str, Tensor](), dict[str, Tensor]()
    for name, value in [*net.named_parameters(), *net.named_buffers()]:
        if value.dim() == 0:
            shared[name] = value
        else:
            own[name] = value.view(replicas, *shapes[name])

    leaves, structure = tree_flatten((args, kwargs))

    def call(own: dict[str, Tensor], inputs: dict[int, Tensor]) -> Any:
        every = [inputs.get(number, x) for number, x in enumerate(leaves)]
        return functional_call(net, own | shared, *tree_unflatten(every, structure))

    inputs = {number: x for number, x in enumerate(leaves) if isinstance(x, Tensor)}
    try:
        with nullcontext() if torch.compiler.is_compiling() else _differentiable():
            outputs = vmap(call, in_dims=(0, 1), randomness="error")(own, inputs)
    except (RuntimeError, ValueError) as error:
        if why := _refusal(error):
            raise ValueError(why) from error
        raise
    return tree_map(lambda y: y.movedim(0, 1) if isinstance(y, Tensor) and y.dim() > 1 else y, outputs)


def _refusal(error: RuntimeError | ValueError) -> str | None:
    """Why vmap cannot compute a net; None for an error of the net itself."""
    text = (str(error).splitlines() or [""])[0]
    if "must only return Tensors" in text:
        where = "where torch.func.vmap runs the net"
        return f"forward must return only tensors, in tuples, lists and dicts, {where}: {text}"
    if isinstance(error, ValueError):
        return None
    if "random" in str(error):
        return (
            "the net draws random numbers that no replica has a stream for; in forward take nn.Dropout or"
            f" nn.Dropout1d to 3d, as layers: {text}"
        )
    if "nested_tensor" in str(error):
        return (
            "nn.TransformerEncoder makes nested tensors of a padding mask, which no engine can; give it"
            " enable_nested_tensor=False"
        )
    return f"torch.func.vmap cannot compute this net; write it of registered layers, or register one: {text}"


@contextmanager
def _differentiable() -> Iterator[None]:
    """Attention in evaluation by operations that have gradients: within vmap torch sees no need of them."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast and not torch.is_grad_enabled())
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
