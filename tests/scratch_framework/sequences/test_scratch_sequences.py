"""Layers for sequences against torch.nn and against finite differences."""

from functools import partial
from typing import Any

import pytest
import torch
from scratch_twins import assert_gradients, assert_replicas, assert_same, assert_twins, draw
from torch import Tensor, nn

import scratch_framework as sf

F64 = torch.float64
WORDS = torch.tensor([[1, 4, 1], [0, 2, 1]])


@pytest.mark.parametrize("padding_idx", [None, 1, -1])
def test_an_embedding_gives_and_trains_the_rows_that_torch_does(padding_idx: int | None) -> None:
    torch.manual_seed(3)
    layer = sf.Embedding(5, 3, padding_idx, dtype=F64)
    torch.manual_seed(3)
    twin = nn.Embedding(5, 3, padding_idx, dtype=F64)
    y, grad = layer(WORDS), draw(2, 3, 3)
    assert_same(y, twin(WORDS))  # torch's very draws
    assert layer.backward(grad).isnan().all()
    twin(WORDS).backward(grad)
    assert twin.weight.grad is not None
    assert_same(layer.weight.grad, twin.weight.grad)
    if padding_idx is None:
        found = sf.numeric_gradient(lambda _: (layer(WORDS) * grad).sum(), layer.weight.value)
        assert_same(layer.weight.grad, found, 1e-8)


def test_each_replica_of_an_embedding_has_a_table_of_its_own() -> None:
    together, words = sf.Embedding(5, 3, 1, replicas=2, dtype=F64), torch.stack([WORDS, WORDS.flip(0)])
    y, grad = together(words), draw(2, 2, 3, 3)
    together.backward(grad)
    for k in range(2):
        alone = sf.Embedding(5, 3, 1, dtype=F64)
        alone.load_state_dict(sf.replica_state(together.state_dict(), k))
        assert_same(y[k], alone(words[k]))
        alone.backward(grad[k])
        assert_same(together.weight.grad[k], alone.weight.grad)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False, "eps": 0.1}])
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_layer_norm_is_torchs(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    layer, twin = sf.LayerNorm(shape, **options, dtype=F64), nn.LayerNorm(shape, **options, dtype=F64)
    for parameter in layer.parameters():
        parameter.value.copy_(draw(*shape, seed=7))
    twin.load_state_dict(layer.state_dict())
    assert_twins(layer, twin, 3 + 5 * draw(2, 5, *shape))
    layer.zero_grad()
    assert_gradients(layer, draw(2, *shape), 1e-7)
    make = partial(sf.LayerNorm, shape, **options, dtype=F64)
    assert_replicas(lambda replicas: make(replicas=replicas), draw(3, 5, *shape))


def cells(**options: Any) -> tuple[sf.RNNCell, nn.RNNCell]:
    ours, theirs = sf.RNNCell(3, 4, **options, dtype=F64), nn.RNNCell(3, 4, **options, dtype=F64)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"nonlinearity": "relu"}])
@pytest.mark.parametrize("batch", [(), (5,)])
def test_a_cell_without_a_past_is_torchs(options: dict[str, Any], batch: tuple[int, ...]) -> None:
    ours, theirs = cells(**options)
    assert_twins(ours, theirs, draw(*batch, 3))
    ours.zero_grad()
    assert_gradients(ours, draw(*batch, 3))


def test_a_replica_of_a_cell_is_the_cell_alone() -> None:
    assert_replicas(lambda replicas: sf.RNNCell(3, 4, replicas=replicas, dtype=F64), draw(3, 5, 3))


@pytest.mark.parametrize("options", [{}, {"nonlinearity": "relu"}])
def test_a_walk_back_through_time_finds_autograds_gradients(options: dict[str, Any]) -> None:
    ours, theirs = cells(**options)
    xs, grads, hidden = draw(6, 5, 3), draw(6, 5, 4, seed=1), draw(5, 4, seed=2)
    leaves, first = xs.clone().requires_grad_(), hidden.clone().requires_grad_()
    h, state, passes, states = hidden, first, [], []
    for x, leaf in zip(xs, leaves, strict=True):
        h, state = ours(x, h), theirs(leaf, state)
        assert_same(h, state)
        passes.append(ours.saved_passes())
        states.append(state)
    torch.autograd.backward(states, list(grads))
    assert leaves.grad is not None
    assert first.grad is not None
    later: Tensor | None = None
    for time in reversed(range(6)):
        ours.restore(passes[time])
        grad_x = ours.backward(grads[time] if later is None else grads[time] + later)
        later = ours.grad_hidden
        assert_same(grad_x, leaves.grad[time])
    assert_same(ours.grad_hidden, first.grad)
    for parameter, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert twin.grad is not None
        assert_same(parameter.grad, twin.grad)


class SelfTwin(nn.Module):
    """torch's attention of a sequence to itself."""

    def __init__(self, ours: sf.SelfAttention, bias: bool) -> None:
        super().__init__()
        self.twin = nn.MultiheadAttention(6, ours.num_heads, bias=bias, batch_first=True, dtype=F64)
        self.twin.load_state_dict(ours.state_dict())
        self.is_causal = ours.is_causal

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=F64)
        options = {"attn_mask": mask, "is_causal": True} if self.is_causal else {}
        return self.twin(x, x, x, need_weights=False, **options)[0]

    def state_dict(self, *args: Any, **options: Any) -> Any:
        return self.twin.state_dict(*args, **options)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_self_attention_is_torchs_attention_of_a_sequence_to_itself(
    heads: int, bias: bool, is_causal: bool
) -> None:
    layer = sf.SelfAttention(6, heads, bias=bias, is_causal=is_causal, dtype=F64)
    for seed, parameter in enumerate(layer.parameters()):
        parameter.value.copy_(draw(*parameter.value.shape, seed=seed))
    assert_twins(layer, SelfTwin(layer, bias), draw(2, 4, 6))
    layer.zero_grad()
    assert_gradients(layer, draw(2, 3, 6), 1e-7)
    make = partial(sf.SelfAttention, 6, heads, bias=bias, is_causal=is_causal, dtype=F64)
    assert_replicas(lambda replicas: make(replicas=replicas), draw(3, 2, 4, 6))


@pytest.mark.parametrize("shape", [(2, 0, 6), (0, 3, 6)])
def test_self_attention_goes_both_ways_without_places_or_without_sequences(
    shape: tuple[int, int, int],
) -> None:
    layer = sf.SelfAttention(6, 2, is_causal=True)
    y = layer(torch.ones(shape))
    assert y.shape == layer.backward(y).shape == shape
    assert not layer.in_proj_weight.grad.any()


def test_self_attention_starts_with_torchs_very_draws() -> None:
    torch.manual_seed(3)
    layer = sf.SelfAttention(6, 2, dtype=F64)
    torch.manual_seed(3)
    twin = nn.MultiheadAttention(6, 2, dtype=F64)
    for name, value in twin.state_dict().items():
        assert_same(layer.state_dict()[name], value)


def test_heads_that_do_not_divide_the_places_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^embed_dim must be a multiple of num_heads 4, got 6$"):
        sf.SelfAttention(6, 4)
