"""Whether replica k of a net is what seed k makes of that net alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.replicas.convert import Engine, Replicas, replicate
from lightning_modules.replicas.seeding import derive_seed, reseed

SEEDS = [5, 17, 40]
Make = Callable[[], nn.Module]
IMAGES_OF_EACH = torch.rand(4, len(SEEDS), 2, 9, 9, dtype=torch.float64)


def step(net: Replicas, inputs: Any, epoch: int) -> Any:
    """Outputs of a training step, whose gradients are left behind."""
    reseed(net, net.seeds, epoch)
    outputs = net.each(inputs)
    weights = torch.arange(outputs[:, 0].numel(), dtype=outputs.dtype).cos().view(outputs[:, :1].shape)
    net.zero_grad()
    (outputs * weights).sum().backward()
    return outputs.detach()


def assert_each_is_its_seed_alone(make: Make, inputs: Tensor, engine: Engine, atol: float = 1e-12) -> None:
    together = replicate(make, SEEDS, engine).double()
    outputs = step(together, inputs, epoch=1)
    assert together.engine == engine
    for k, seed in enumerate(SEEDS):
        alone = replicate(make, [seed], engine).double()
        torch.testing.assert_close(outputs[:, [k]], step(alone, inputs[:, [k]], epoch=1), rtol=0, atol=atol)
        # One scale for the net: before a normalisation a bias has the gradient 0, of numbers that cancel.
        scale = max(1.0, *(p.grad.abs().max().item() for p in alone.parameters() if p.grad is not None))
        for (name, ours), (_, own) in zip(together.named_parameters(), alone.named_parameters(), strict=True):
            assert ours.grad is not None
            assert own.grad is not None
            torch.testing.assert_close(ours.grad.chunk(3)[k], own.grad, rtol=0, atol=scale * atol, msg=name)
        for (name, whole), (_, value) in zip(together.named_buffers(), alone.named_buffers(), strict=True):
            mine = whole.chunk(3)[k] if whole.dim() else whole
            torch.testing.assert_close(mine, value, rtol=0, atol=atol, msg=name)
    with torch.no_grad():
        before = together.eval().each(inputs)
    for k, seed in enumerate(SEEDS):  # an ordinary torch net, made and called without replicas
        torch.manual_seed(derive_seed(seed, "initialisation"))
        ordinary = make().double().eval()
        ordinary.load_state_dict(together.replica_state(k))
        with torch.no_grad():
            torch.testing.assert_close(ordinary(inputs[:, k]), before[:, k], rtol=0, atol=10 * atol)
    together.select([2, 0])
    with torch.no_grad():
        rest = together.each(inputs[:, [2, 0]])
    torch.testing.assert_close(rest, before[:, [2, 0]], rtol=0, atol=atol)
    trained = step(together.train(), inputs[:, [2, 0]], epoch=1)
    torch.testing.assert_close(trained, outputs[:, [2, 0]], rtol=0, atol=atol)  # and drops the same


class Net(nn.Module):
    """A forward of one's own around one layer."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Any], **attributes: Any) -> None:
        super().__init__()
        self.call, self.layer = forward, nn.Linear(9, 6)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self.call(self.layer, x)
