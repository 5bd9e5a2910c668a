"""Registry: how each type of layer holds R replicas, and how some of them are dropped from it.

A layer with parameters must be registered by its exact type, because a subclass may compute anything. A
module without parameters of its own, such as an activation, a pooling or a container, needs no entry: it is
kept as it is, with its children converted. That is right where its `forward` treats the blocks of dimension 1
alike, which `replicate` proves.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Number
from typing import Any

from torch import nn

from lightning_modules.replicas import wide_layers
from lightning_modules.replicas.dropout import ChannelDropout, Dropout
from lightning_modules.replicas.fused.sequential import Sequential
from lightning_modules.replicas.layers import Linear, Logits

Widen = Callable[[Any, int], nn.Module]
Select = Callable[[Any, Sequence[int], int], None]

# Layers that draw random numbers.
DRAWING = (nn.modules.dropout._DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


class NoWideFormError(TypeError):
    """A module has no form with replicas side by side."""


@dataclass(frozen=True)
class Rule:
    """What is registered for a type of layer."""

    widen: Widen
    select: Select | None


_RULES: dict[type[nn.Module], Rule] = {}
_SELECTS: dict[type[nn.Module], Select | None] = {}  # by the type of the layer with replicas


def register(kind: type[nn.Module], widen: Widen, select: Select | None = None) -> None:
    """Say how a type of layer holds R replicas.

    Args:
        kind: The type of the ordinary layer; subclasses are not meant.
        widen: From an ordinary layer and R to a layer from (N, R * D, ...) to (N, R * D', ...), replica r
            owning the r-th of R blocks. Its parameters and buffers have the ordinary names, and R blocks
            along their first dimension. What they hold does not matter.
        select: Called with that layer, the numbers of the replicas that stay, and R, when replicas are
            dropped. The tensors are already without them; it sets attributes that depend on R. None: there
            are no such attributes.
    """
    _RULES[kind] = Rule(widen, select)


def widen(layer: nn.Module, replicas: int, made: dict[int, nn.Module] | None = None) -> nn.Module:
    """The form of a module with R replicas; its parameters are yet to be filled.

    Args:
        layer: The ordinary module; it is not changed.
        replicas: Number of replicas R.
        made: Modules that have been converted, by the id of the ordinary one: one that occurs twice stays
            one.

    Raises:
        NoWideFormError: It, or a module in it, has none.
    """
    made = {} if made is None else made
    if id(layer) not in made:
        rule = _RULES.get(type(layer))
        if rule is None and isinstance(layer, DRAWING):
            raise NoWideFormError(f"{type(layer).__name__} has no random streams of its own for each replica")
        wide = _widen_container(layer, replicas, made) if rule is None else rule.widen(layer, replicas)
        if rule is not None:
            _SELECTS[type(wide)] = rule.select
        # Hooks get the replicas side by side. Those that the form gets later are its own.
        vars(wide).update({name: copy.copy(value) for name, value in vars(layer).items() if "_hook" in name})
        for part in wide.modules() if rule is not None else [wide]:
            part.training = layer.training
        made[id(layer)] = wide
    return made[id(layer)]


def _widen_container(module: nn.Module, replicas: int, made: dict[int, nn.Module]) -> nn.Module:
    """The same module around its children's forms with replicas."""
    kind = Sequential if type(module) is nn.Sequential else type(module)
    own = [
        name for name, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    ]
    if own:
        raise NoWideFormError(
            f"{kind.__name__} has tensors of its own ({', '.join(own)}) and is not registered: keep them in"
            f" layers such as torch.nn.Linear, or call register({kind.__name__}, widen=...)"
        )
    wide = kind.__new__(kind)
    wide.__dict__ = copy.copy(module.__dict__)
    wide._modules = {
        name: child if child is None else widen(child, replicas, made)
        for name, child in module._modules.items()
    }
    return wide


def copy_numbers(source: nn.Module, target: nn.Module) -> None:
    """Give an ordinary module the numbers that its form with replicas has by now, such as a count of calls.

    Args:
        source: The form with replicas.
        target: The ordinary module. A registered one gets only its mode: its numbers depend on R.
    """
    names = ["training"] if type(target) in _RULES else vars(target)
    own = {name: vars(source).get(name) for name in names}
    vars(target).update({name: value for name, value in own.items() if isinstance(value, Number | str)})


def select_attributes(layer: nn.Module, kept: Sequence[int], replicas: int) -> None:
    """Set the attributes of one layer with R replicas when some are dropped; its tensors are not touched.

    Args:
        layer: The layer, without its children.
        kept: Which replicas stay, in this order.
        replicas: Number of replicas R.
    """
    select = _SELECTS.get(type(layer))
    if select is not None:
        select(layer, kept, replicas)


def _scale(names: Sequence[str], layer: nn.Module, kept: Sequence[int], replicas: int) -> None:
    for name in names:
        setattr(layer, name, getattr(layer, name) // replicas * len(kept))


def _conv(layer: Any, replicas: int) -> nn.Module:
    options = {"output_padding": layer.output_padding} if layer.transposed else {}
    wide: nn.Module = type(layer)(
        replicas * layer.in_channels,
        replicas * layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        dilation=layer.dilation,
        groups=replicas * layer.groups,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        **options,
    )
    return wide


def _norm(layer: Any, replicas: int) -> nn.Module:
    kinds: dict[Any, Any] = {
        nn.InstanceNorm2d: wide_layers.InstanceNorm2d,
        nn.InstanceNorm3d: wide_layers.InstanceNorm3d,
    }
    kind, number = kinds.get(type(layer), type(layer)), replicas * layer.num_features
    wide: nn.Module = kind(number, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
    return wide


def _group_norm(layer: nn.GroupNorm, replicas: int) -> nn.Module:
    groups, channels = replicas * layer.num_groups, replicas * layer.num_channels
    return wide_layers.GroupNorm(groups, channels, layer.eps, layer.affine)


def _linear(layer: nn.Linear, replicas: int) -> nn.Module:
    bias, last = layer.bias is not None, isinstance(layer, Logits)
    return Linear(layer.in_features, layer.out_features, replicas, bias, last)


def _linears(layer: Linear, replicas: int) -> nn.Module:
    number, bias = replicas * layer.replicas, layer.bias is not None
    return Linear(layer.in_features, layer.out_features, number, bias, layer.last)


def _embedding(layer: nn.Embedding, replicas: int) -> nn.Module:
    if layer.max_norm is not None or layer.sparse:
        raise NoWideFormError("Embedding with max_norm or sparse gradients has no form with replicas")
    return wide_layers.Embedding(layer, replicas)


def _attention(layer: nn.MultiheadAttention, replicas: int) -> nn.Module:
    same = layer._qkv_same_embed_dim
    if not same or not layer.batch_first or layer.bias_k is not None or layer.add_zero_attn:
        raise NoWideFormError(
            "MultiheadAttention has a form with replicas only with batch_first=True, and without kdim, vdim,"
            " add_bias_kv and add_zero_attn"
        )
    return wide_layers.MultiheadAttention(layer, replicas)


def _dropouts(layer: Dropout, replicas: int) -> nn.Module:
    return type(layer)(layer.p, replicas * layer.replicas)


_kind: type[nn.Module]
for _kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d):
    register(_kind, _conv, partial(_scale, ("groups", "in_channels", "out_channels")))
for _kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
    register(_kind, _norm, partial(_scale, ("num_features",)))
for _kind in (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d):
    register(_kind, _norm, partial(_scale, ("num_features",)))
register(nn.GroupNorm, _group_norm, partial(_scale, ("num_groups", "num_channels")))
_REPLICAS = partial(_scale, ("replicas",))
for _kind in (nn.Linear, Logits, nn.modules.linear.NonDynamicallyQuantizableLinear):
    register(_kind, _linear, _REPLICAS)
register(Linear, _linears, _REPLICAS)
register(nn.LayerNorm, wide_layers.LayerNorm, _REPLICAS)
register(nn.PReLU, wide_layers.PReLU, _REPLICAS)
register(nn.Embedding, _embedding, _REPLICAS)
register(nn.Bilinear, wide_layers.Bilinear, _REPLICAS)
register(nn.MultiheadAttention, _attention, _REPLICAS)
_SAMPLES = (nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.Softmax2d, nn.GLU, nn.Unflatten, nn.ChannelShuffle)
for _kind in (*_SAMPLES, nn.PixelShuffle, nn.PixelUnshuffle, nn.LocalResponseNorm):
    register(_kind, wide_layers.PerSample, _REPLICAS)
register(nn.Dropout, lambda layer, replicas: Dropout(layer.p, replicas), Dropout.select)
for _kind in (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d):
    register(_kind, lambda layer, replicas: ChannelDropout(layer.p, replicas), Dropout.select)
for _kind in (Dropout, ChannelDropout):
    register(_kind, _dropouts, Dropout.select)
_SELECTS.update({Linear: _REPLICAS, Dropout: Dropout.select, ChannelDropout: Dropout.select})  # also as parts
