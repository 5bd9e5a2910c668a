"""The paper's three networks, figures 1.2 and 1.4 to the letter, named as in `lightning_modules.networks`.

The lists end in ReLU, BatchNorm and Dropout, after the last linear layer too, because that is what the paper
shows. Weight sharing and auxiliary losses are one network under two losses.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Generator, Tensor

import scratch_framework as sf
from lightning_modules.replicas.seeding import derive_seed
from scratch_framework.core.parameter import State


def paper_cnn(
    in_channels: int, out_features: int, *, masks: Sequence[Generator] | None = None, **options: Any
) -> sf.Sequential:
    """The CNN of figure 1.2, from (R, N, in_channels, 14, 14) to (R, N, out_features).

    Args:
        in_channels: 2 for pairs, 1 for single digits.
        out_features: 2 for pairs, 10 for single digits.
        masks: Sources of the dropout masks, one for each replica.
        **options: `replicas` R (None is one net, without the leading dimension), `dtype` of the parameters,
            and `generator`, the source of the weights.
    """
    shape, replicas = _without_generator(options), options.get("replicas")
    return sf.Sequential(
        sf.Conv2d(in_channels, 32, 3, input_grad=False, **options),  # (R, N, 32, 12, 12)
        sf.MaxPool2d(2),  # (R, N, 32, 6, 6)
        sf.ReLU(),
        sf.BatchNorm2d(32, **shape),
        sf.Dropout(0.2, generator=masks),
        sf.Conv2d(32, 64, 3, **options),  # (R, N, 64, 4, 4)
        sf.MaxPool2d(2),  # (R, N, 64, 2, 2)
        sf.ReLU(),
        sf.BatchNorm2d(64, **shape),
        sf.Dropout(0.2, generator=masks),
        sf.Flatten(replicas=replicas),  # (R, N, 256)
        sf.Linear(256, 200, **options),
        sf.ReLU(),
        sf.BatchNorm1d(200, **shape),
        sf.Dropout(0.3, generator=masks),
        sf.Linear(200, out_features, **options),
        sf.ReLU(),
        sf.BatchNorm1d(out_features, **shape),
        sf.Dropout(0.3, generator=masks),
    )


def paper_head(*, masks: Sequence[Generator] | None = None, **options: Any) -> sf.Sequential:
    """The MLP of figure 1.4, from the ten outputs for each of two digits, (R, N, 20), to (R, N, 2)."""
    shape = _without_generator(options)
    return sf.Sequential(
        sf.Linear(20, 100, **options),
        sf.ReLU(),
        sf.BatchNorm1d(100, **shape),
        sf.Dropout(0.2, generator=masks),
        sf.Linear(100, 20, **options),
        sf.ReLU(),
        sf.BatchNorm1d(20, **shape),
        sf.Dropout(0.2, generator=masks),
        sf.Linear(20, 2, **options),
        sf.ReLU(),
    )


def _without_generator(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a layer that draws no weights."""
    return {name: value for name, value in options.items() if name != "generator"}


class PaperCNN(sf.Module):
    """The plain network (section 1.2.1): both digits enter as two channels of one image."""

    def __init__(self, **options: Any) -> None:
        self.cnn = paper_cnn(2, 2, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.cnn.forward(x)  # (R, N, 2, 14, 14) to (R, N, 2)

    def backward(self, grad_output: Tensor) -> Tensor:
        return self.cnn.backward(grad_output)


class PaperSiamese(sf.SharedTrunk):
    """One CNN for both digits, then an MLP on its two outputs (sections 1.2.2 and 1.2.3, figure 1.4)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(paper_cnn(1, 10, **options), paper_head(**options))


NETWORKS: Mapping[str, Callable[..., sf.Module]] = {
    "cnn": PaperCNN,
    "weight_sharing": PaperSiamese,
    "auxiliary": PaperSiamese,
}


def initial_state(net: str, seeds: Sequence[int]) -> State:
    """Draw the weights (R, ...) that R trainings start with: those of `lightning_modules`, bit for bit."""
    generators = [Generator().manual_seed(derive_seed(seed, "initialisation")) for seed in seeds]
    return sf.stack_states([NETWORKS[net](generator=generator).state_dict() for generator in generators])
