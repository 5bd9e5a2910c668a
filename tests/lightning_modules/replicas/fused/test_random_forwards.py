"""Random forwards that call layers one by one: they get what torch computes."""

from collections.abc import Callable
from copy import deepcopy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.following import follow
from lightning_modules.replicas.fused.sequential import Sequential, set_engine

R, C = 2, 8


class Program(nn.Module):
    """A forward that is a list of what is done to one of the tensors there are, for R replicas."""

    def __init__(self, lines: list[tuple[str, int, int, bool]]) -> None:
        super().__init__()
        self.lines = lines
        self.conv, self.other = (nn.Conv2d(R * C, R * C, 3, padding=1, groups=R) for _ in range(2))
        self.norm, self.dropout = nn.BatchNorm2d(R * C), Dropout(0.3, R)
        self.block = Sequential(
            nn.Conv2d(R * C, R * C, 3, padding=1, groups=R), nn.BatchNorm2d(R * C), nn.ReLU()
        )
        self.relu, self.relu_in_place, self.pool = nn.ReLU(), nn.ReLU(inplace=True), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        tensors = [x]
        for what, place, other, keeps in self.lines:
            x = tensors[place % len(tensors)]
            y = self.do(what, x, tensors[other % len(tensors)])
            if keeps:
                tensors.append(y)
            else:
                tensors[place % len(tensors)] = y
            del x, y  # so that nothing but the list holds a tensor
        return tensors

    def do(self, what: str, x: Tensor, other: Tensor) -> Tensor:
        if what in dict(self.named_children()):
            return self.get_submodule(what)(x) if what != "pool" or x.shape[-1] > 3 else x
        if what in ("max_pool2d", "avg_pool2d"):
            return getattr(F, what)(x, 2) if x.size(2) > 3 else x
        if what == "without gradients":
            with torch.no_grad():
                return self.conv(x)
        if what == "changed view":
            part = x[:, 1:3]
            part.mul_(0.5)
            return self.conv(x)
        if what in ("add", "add_") and x.shape == other.shape:
            return getattr(x, what)(other)
        return FUNCTIONS.get(what, torch.clone)(x)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "tanh": torch.tanh,
    "sigmoid": lambda x: x.sigmoid(),
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "times 2 in place": lambda x: x.mul_(2),
    "detached": lambda x: x.detach(),
    "flipped": lambda x: x.flip(-1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (x.shape[2], x.shape[3])),
}
LAYERS = ["conv", "other", "norm", "dropout", "block", "relu", "relu_in_place", "pool"]
LINES = [*LAYERS, "max_pool2d", "avg_pool2d", "without gradients", "changed view", "add", "add_", *FUNCTIONS]


def everything(net: Program, images: Tensor) -> list[Tensor]:
    """Outputs, gradients and statistics after two steps: the second one knows the first."""
    net.zero_grad()
    net.dropout.seed([1, 2])
    found = []
    for step in range(2):
        x = images.detach().clone() + step
        outputs = net(x)
        total = sum((y * torch.arange(y.numel()).view(y.shape).cos()).sum() for y in outputs)
        if total.requires_grad:
            total.backward()
        found += [*outputs, *(p.grad.clone() for p in net.parameters() if p.grad is not None)]
    return [*found, *net.buffers()]


@settings(max_examples=80, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.sampled_from(LINES), st.integers(0, 3), st.integers(0, 3), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    training=st.booleans(),
)
def test_whatever_a_forward_does_with_tensors_it_gets_what_torch_computes(
    lines: list[tuple[str, int, int, bool]], training: bool
) -> None:
    torch.manual_seed(0)
    plain = Program(lines).double().train(training)
    followed, images = deepcopy(plain), torch.randn(3, R * C, 12, 12, dtype=torch.float64)
    follow(followed)
    set_engine(plain, "torch")
    try:
        expected = everything(plain, images)
    except RuntimeError:  # of autograd: a tensor was changed in place that it needs
        return
    try:
        found = everything(followed, images)
    except RuntimeError as error:  # which the proof of a kind of batch would meet, and follow no more
        if "was changed, unseen" not in str(error):
            raise
        return
    for ours, theirs in zip(found, expected, strict=True):
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * scale)
