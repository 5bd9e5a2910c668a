"""Nets whose own forward calls layers one by one: the loops compute them, and what torch computes."""

import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any, cast

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lightning_modules.replicas.convert import Replicas, replicate
from lightning_modules.replicas.fused import following
from lightning_modules.replicas.fused.following import FollowedForward
from lightning_modules.replicas.fused.pooled_convolution import Convolution


class Tutorial(nn.Module):
    """As in many a tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.pool = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.MaxPool2d(2)
        self.hidden, self.classify = nn.Linear(400, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.heads(self.trunk(x))

    def trunk(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        return F.max_pool2d(F.relu(self.conv2(x)), 2)

    def heads(self, x: Tensor) -> Tensor:
        return self.classify(F.relu(self.hidden(torch.flatten(x, 1))))


class EachByItsName(Tutorial):
    """Keeps what it has computed, each by a name of its own."""

    def forward(self, x: Tensor) -> Tensor:
        c1 = F.relu(self.conv1(x))
        s2 = F.max_pool2d(c1, (2, 2))
        c3 = F.relu(self.conv2(s2))
        s4 = F.max_pool2d(c3, 2)
        return self.heads(s4)


class Viewed(Tutorial):
    """Flattens by a view."""

    def heads(self, x: Tensor) -> Tensor:
        return super().heads(x.view(x.shape[0], -1))


class Reshaped(Tutorial):
    """Flattens by a new shape."""

    def heads(self, x: Tensor) -> Tensor:
        return super().heads(x.reshape((len(x), -1)))


class InParts(Tutorial):
    """As torchvision's, whose parts are sequences with a view in between."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            self.conv1, nn.ReLU(True), self.pool, self.conv2, nn.ReLU(True), self.pool
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.heads(x.view(x.size(0), -1))


class Looked(Tutorial):
    """Looks at what it computes, keeps it, and branches by it."""

    def trunk(self, x: Tensor) -> Tensor:
        self.seen = F.relu(self.conv1(x))
        if self.seen.isnan().any() or self.seen.shape[-1] > 100:
            self.seen = self.seen * 0
        return F.max_pool2d(F.relu(self.conv2(self.pool(self.seen))), 2)


class Meaned(Tutorial):
    """Averages over the map."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(16, 20)

    def heads(self, x: Tensor) -> Tensor:
        return super().heads(x.mean(dim=(2, 3)))


class Shuffled(Tutorial):
    """Has a sequence with layers of which the loops know nothing, not even the shape that they give."""

    def __init__(self) -> None:
        super().__init__()
        self.shuffle = nn.Sequential(nn.PixelShuffle(2), nn.MaxPool2d(4))
        self.hidden = nn.Linear(16, 20)

    def heads(self, x: Tensor) -> Tensor:
        x = self.shuffle(x)
        return super().heads(x.view(x.shape[0], -1))


class Halves(Tutorial):
    """Looks in another precision at what it has computed before."""

    def trunk(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        with torch.autocast("cpu", torch.bfloat16):
            x = x * (x.abs().max() < 1e9)
        return F.max_pool2d(F.relu(self.conv2(x)), 2)


def pooled(replicas: Replicas, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many convolutions are pooled by the loops in a call."""
    calls, compute = list[Convolution](), Convolution.__call__

    def counted(convolution: Convolution, x: Tensor, number: int) -> Tensor:
        calls.append(convolution)
        return compute(convolution, x, number)

    with monkeypatch.context() as patch:
        patch.setattr(Convolution, "__call__", counted)
        replicas(x)
    return len(calls)


@pytest.mark.parametrize(
    ("net", "loops"),
    [
        (Tutorial, 2),
        (EachByItsName, 2),
        (Viewed, 2),
        (Reshaped, 2),
        (InParts, 2),
        (Looked, 1),
        (Meaned, 2),
        (Halves, 2),
        (Shuffled, 2),
    ],
)
def test_layers_that_a_forward_calls_one_by_one_are_computed_by_the_loops(
    net: Callable[[], nn.Module],
    loops: int,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    images = torch.randn(4, 1, 28, 28, generator=Generator().manual_seed(0))
    replicas = replicate(net, seeds=range(3))
    outputs = replicas(images)
    outputs.square().sum().backward()
    assert pooled(replicas, images, monkeypatch) == loops
    assert not [warning for warning in recwarn if "replicas" in str(warning.message)]
    for r in range(3):
        alone = replicas.replica(r)
        expected = alone(images)
        expected.square().sum().backward()
        torch.testing.assert_close(outputs[:, r], expected, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(replicas.parameters(), alone.parameters(), strict=True):
            assert ours.grad is not None
            assert theirs.grad is not None
            part = ours.grad.chunk(3)[r].view_as(theirs.grad)
            torch.testing.assert_close(part, theirs.grad, rtol=1e-3, atol=1e-4)
    for other in (deepcopy(replicas), pickle.loads(pickle.dumps(replicas))) if net is not Looked else ():
        assert torch.equal(other(images), outputs)
    replicas.select([0, 2])
    torch.testing.assert_close(replicas(images), outputs[:, [0, 2]])


class Square(torch.autograd.Function):
    """A function for autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad


square: Callable[[Tensor], Tensor] = Square.apply


class OwnFunction(Tutorial):
    """Its function would be given a tensor that is not computed, whose gradient would be lost."""

    def trunk(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.conv2(self.pool(square(self.conv1(x)))), 2)


class Recomputed(Tutorial):
    """Computes its trunk again in the backward pass."""

    def trunk(self, x: Tensor) -> Tensor:
        return checkpoint(super().trunk, x, use_reentrant=True)


@pytest.mark.parametrize("net", [OwnFunction, Recomputed])
def test_what_cannot_be_followed_is_computed_by_torch(net: Callable[[], nn.Module]) -> None:
    images = torch.randn(4, 1, 28, 28, requires_grad=True)
    replicas = replicate(net, seeds=range(3))
    replicas(images).square().sum().backward()
    assert replicas.engine == "wide"
    assert not isinstance(vars(replicas.net).get("forward"), FollowedForward)
    ours, images.grad = images.grad, None
    for r in range(3):
        replicas.replica(r)(images).square().sum().backward()
    torch.testing.assert_close(ours, images.grad, rtol=1e-3, atol=1e-4)


class RecomputedInside(Tutorial):
    """Computes a layer again in the backward pass, as torch recommends it."""

    times = 0

    def again(self, x: Tensor) -> Tensor:
        self.times += 1
        return F.relu(self.conv2(x))

    def trunk(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        return F.max_pool2d(checkpoint(self.again, x, use_reentrant=False), 2)


def test_what_a_checkpoint_is_to_compute_again_is_not_deferred_until_after_it() -> None:
    replicas, images = replicate(RecomputedInside, seeds=range(3)), torch.randn(4, 1, 28, 28)
    outputs, net = replicas(images), cast("RecomputedInside", replicas.net)
    expected = replicas.replica(1)(images)
    torch.testing.assert_close(outputs[:, 1], expected, rtol=1e-4, atol=1e-5)
    net.times = 0
    outputs.sum().backward()
    assert net.times == 1


def test_no_loop_is_for_a_batch_without_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = replicate(Tutorial, seeds=range(3), example=torch.randn(4, 1, 28, 28))
    assert pooled(replicas, torch.randn(0, 1, 28, 28), monkeypatch) == 0


def test_a_hook_sees_each_layer_once_and_what_torch_would_give_it() -> None:
    replicas, images = replicate(Tutorial, seeds=range(3)), torch.randn(4, 1, 28, 28)
    expected, seen, net = replicas(images), list[Tensor](), cast("Tutorial", replicas.net)
    net.conv2.register_forward_hook(lambda layer, inputs, output: seen.append(output.clone()))
    torch.testing.assert_close(replicas(images), expected)
    (output,) = seen
    torch.testing.assert_close(output, net.conv2(net.pool(F.relu(net.conv1(images.repeat(1, 3, 1, 1))))))


def test_hooks_on_gradients_that_come_after_the_proof_see_what_torch_would_give_them() -> None:
    replicas, images, seen = replicate(Tutorial, seeds=range(3)), torch.randn(4, 1, 28, 28), list[Any]()
    replicas(images)
    net = cast("Tutorial", replicas.net)
    net.conv2.register_full_backward_hook(lambda layer, inputs, outputs: seen.extend(outputs))
    replicas(images).square().sum().backward()
    assert net.conv1.weight.grad is not None
    assert [grad.shape for grad in seen] == [(4, 48, 11, 11)]


def test_a_global_hook_sees_the_layers_of_a_net_and_no_others() -> None:
    replicas, images, seen = replicate(Tutorial, seeds=range(3)), torch.randn(4, 1, 28, 28), list[nn.Module]()
    replicas(images)
    with nn.modules.module.register_module_forward_hook(lambda layer, *_: seen.append(layer)):
        replicas(images)
    net = cast("Tutorial", replicas.net)
    assert seen == [net.conv1, net.pool, net.conv2, net.hidden, net.classify, net, replicas]


def test_images_with_too_many_channels_are_refused_as_by_torch() -> None:
    replicas = replicate(Viewed, seeds=range(3), example=torch.randn(4, 1, 28, 28))
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 6"):
        replicas(torch.randn(4, 2, 28, 28))


def test_threads_may_call_the_same_replicas() -> None:
    replicas = replicate(Viewed, seeds=range(2)).eval()
    images = [torch.randn(1, 1, size, 28) for size in (28, 29) for _ in range(20)]
    interval = sys.getswitchinterval()
    replicas(images[0])
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool, torch.no_grad():
            found = list(pool.map(torch.no_grad()(replicas), images))
    finally:
        sys.setswitchinterval(interval)
    for x, y in zip(images, found, strict=True):
        assert type(y) is Tensor
        torch.testing.assert_close(y, replicas(x).detach())


class Again(Tutorial):
    """Calls itself, and uses its normalisation before."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor, once_more: bool = True) -> Tensor:
        y = self.pool(F.relu(self.norm(self.conv1(x))))
        z = self(2 * x, once_more=False) if once_more else 0
        return self.heads(F.max_pool2d(self.conv2(y), 2)) + z


def test_a_net_that_calls_itself_is_followed_all_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    replicas, images = replicate(Again, seeds=range(2)), torch.randn(2, 1, 28, 28)
    alone = replicas.replica(1)
    torch.testing.assert_close(replicas(images)[:, 1], alone(images), rtol=1e-4, atol=1e-5)
    means = cast("Again", replicas.net).norm.running_mean, cast("Again", alone).norm.running_mean
    assert means[0] is not None
    torch.testing.assert_close(means[0].chunk(2)[1], means[1])
    assert pooled(replicas, images, monkeypatch) == 2


class Late(Tutorial):
    """After its proof changes rows of what it has noted, and flattens first dimensions."""

    is_late = False

    def trunk(self, x: Tensor) -> Tensor:
        y = super().trunk(x)
        if self.is_late:
            rows, z = list(y), F.relu(y)
            for row in rows:
                row.sub_(1)
            maps = torch.flatten(F.relu(z), end_dim=1)  # (N * channels, H, W)
            y = maps.mean(-1).view(*y.shape[:3], 1) + y
        return y


def test_rows_that_change_change_their_tensor_after_it_was_used() -> None:
    replicas, images = replicate(Late, seeds=range(2)).eval(), torch.randn(2, 1, 28, 28)
    replicas(images)
    alone = replicas.replica(1)
    for net in (replicas.net, alone):
        cast("Late", net).is_late = True
    with torch.no_grad():
        torch.testing.assert_close(replicas(images)[:, 1], alone(images), rtol=1e-4, atol=1e-5)


class Unpooled(Tutorial):
    """Has no layers that are worth another layout."""

    def trunk(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(torch.tanh(self.conv2(F.relu6(self.conv1(x)))) + 1, 5)


class SumsFirst(Tutorial):
    """Has only layers without a convolution behind its sum, which end in rows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.hidden = nn.BatchNorm2d(16), nn.Linear(16 * 12 * 12, 20)

    def trunk(self, x: Tensor) -> Tensor:
        x = F.relu6(self.conv2(F.relu6(self.conv1(x)))) + 1
        return F.max_pool2d(F.relu(self.norm(x)), 2)


@pytest.mark.parametrize("net", [Unpooled, SumsFirst])
def test_a_net_that_gains_nothing_is_no_longer_given_deferred_tensors(
    net: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas, images = replicate(net, seeds=range(2)), torch.randn(2, 1, 28, 28)
    replicas(images)
    with monkeypatch.context() as patch:
        patch.setattr(following, "Call", None)
        replicas(images)


class Kept(Tutorial):
    """Stores what it has computed, for somebody who looks at it later."""

    def trunk(self, x: Tensor) -> Tensor:
        self.seen = F.relu(self.conv1(x))
        return F.max_pool2d(self.conv2(self.pool(self.seen)), 2)


def test_what_a_forward_has_kept_is_a_tensor_after_it() -> None:
    replicas, images = replicate(Kept, seeds=range(3)), torch.randn(4, 1, 28, 28)
    replicas(images)
    net = cast("Kept", replicas.net)
    expected = F.relu(net.conv1(images.repeat(1, 3, 1, 1)))
    total = (net.pool(net.seen) ** 2).sum()
    total.backward()
    assert type(total) is Tensor
    assert net.conv1.weight.grad is not None
    with torch.no_grad():
        net.conv1.weight.zero_()
    torch.testing.assert_close(net.seen.detach().clone(), expected.detach())


class Switched(Tutorial):
    """Lets its normalisation use what it has learnt, for one call of a layer, from the second step on."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.step = nn.BatchNorm2d(8), 0

    def trunk(self, x: Tensor) -> Tensor:
        h = self.conv1(x)
        self.norm.train(self.training and not self.step)
        h = self.norm(h)
        self.norm.train(self.training)
        return self.pool(self.conv2(self.pool(h)))


def test_a_layer_whose_mode_changes_before_it_is_computed_is_an_error_where_the_proof_has_not_met_it() -> (
    None
):
    replicas, images = replicate(Switched, seeds=range(3)), torch.randn(4, 1, 28, 28)
    replicas(images)
    cast("Switched", replicas.net).step = 1
    with pytest.raises(RuntimeError, match=r"changed, unseen.*is_followed = False"):
        replicas(images)


def test_what_a_forward_stores_has_a_gradient_from_the_first_call() -> None:
    replicas, images = replicate(Kept, seeds=range(3)), torch.randn(4, 1, 28, 28)
    for _ in range(2):
        outputs, seen = replicas(images), cast("Kept", replicas.net).seen
        seen.retain_grad()
        outputs.square().sum().backward()
        assert seen.grad is not None


class Strided(Tutorial):
    """Has no layers that the loops compute, and flattens by a view what a sequence gives."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 16, 3, stride=5), nn.ReLU())
        self.hidden = nn.Linear(16 * 36, 20)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.heads(x.view(x.shape[0], -1))


def test_a_view_of_what_a_sequence_gives_is_as_good_in_later_calls() -> None:
    replicas, images = replicate(Strided, seeds=range(3)), torch.randn(4, 1, 28, 28)
    for _ in range(3):
        torch.testing.assert_close(replicas(images)[:, 1], replicas.replica(1)(images))
    assert replicas.engine == "wide"


class Changing(Tutorial):
    """Has another slope in each call."""

    slope = 0.0

    def trunk(self, x: Tensor) -> Tensor:
        self.slope += 0.01
        return self.pool(self.conv2(self.pool(F.leaky_relu(self.conv1(x), self.slope))))


def test_a_forward_whose_layers_change_gets_those_of_each_call_and_takes_no_more_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "MOST", 20)
    replicas, images = replicate(Changing, seeds=range(2)), torch.randn(2, 1, 28, 28)
    net = cast("Changing", replicas.net)
    for _ in range(30):
        outputs = replicas(images)
        assert len(vars(net)["forward"]._chains) <= 25
    alone = cast("Changing", replicas.replica(1))
    alone.slope = net.slope - 0.01
    torch.testing.assert_close(outputs[:, 1], alone(images))
