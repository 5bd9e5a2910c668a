"""A net as the page computes it: lists of layers, their weights as float32 in base64.

All that the page knows of networks is here and in network.js. Layers and heads are found by their types. Who
adds a type of them adds a case here and one there.
"""

from base64 import b64encode
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lightning_modules.command.cli import CommandError
from lightning_modules.models.base import PairModule
from lightning_modules.networks import heads
from lightning_modules.networks.pairs import EarlyFusion, PairNetwork, SeparateTrunks
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.layers import DEVIATION, MEAN, Linear, Standardise

Json = dict[str, object]


def describe(model: PairModule) -> Json:
    """A net as JSON.

    Args:
        model: Of one net.

    Returns:
        `trunks`: lists of layers; one that sees both digits as channels (`together`), one that sees each, or
        one for each. `head`: how their outputs are compared; None where the trunk itself compares. `outputs`:
        what the trunk's ten outputs are, "digits" or "latent classes"; None where they are neither.

    Raises:
        CommandError: It has a part that the page does not know.
    """
    network = model.network.net
    latent = "latent classes" if isinstance(network.head, heads.PosteriorHead) else None
    return {
        "trunks": _trunks(network),
        "together": isinstance(network, EarlyFusion),
        "head": _head(network),
        "outputs": "digits" if model.has_digit_heads else latent,
    }


def _trunks(network: PairNetwork) -> list[list[Json]]:
    if isinstance(network, EarlyFusion):
        return [list(_layers(network.cnn))]
    if isinstance(network, SeparateTrunks):  # side by side in one; that of first digits comes first
        return [list(_layers(network.trunk, part, 2)) for part in range(2)]
    return [list(_layers(network.trunk))]


def _head(network: PairNetwork) -> Json | None:
    match network.head:
        case None:
            return None
        case heads.Exact(temperature=temperature):
            return {"compares": "posteriors", "temperature": temperature}
        case heads.Argmax():
            return {"compares": "posteriors", "temperature": 0}
        case heads.Subtract(linear=linear):
            return {"compares": "difference", "layers": list(_layers(linear))}
        case heads.PaperHead() | heads.MLP() as layers:
            return {"compares": "both", "layers": list(_layers(layers))}
    raise CommandError(f"the page does not know the head {type(network.head).__name__}")


def _layers(module: nn.Module, part: int = 0, parts: int = 1) -> Iterator[Json]:
    """Layers in their order. Of nets side by side, `parts` of them, those of one."""

    def packed(values: Tensor) -> str:
        return base64(values.detach().chunk(parts)[part])

    match module:
        case nn.Sequential():
            for layer in module:
                yield from _layers(layer, part, parts)
        case nn.Conv2d(kernel_size=(side, _), padding=(padding, _)):
            bias = None if module.bias is None else packed(module.bias)
            yield {
                "kind": "conv",
                "side": side,
                "padding": padding,
                "weight": packed(module.weight),
                "bias": bias,
            }
        case nn.Linear() | Linear():
            bias = None if module.bias is None else packed(module.bias)
            yield {"kind": "linear", "weight": packed(module.weight), "bias": bias}
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            scale, shift = _folded(module)
            yield {"kind": "norm", "scale": packed(scale), "shift": packed(shift)}
        case Standardise():
            scale, shift = torch.tensor([1 / DEVIATION]), torch.tensor([-MEAN / DEVIATION])
            yield {"kind": "norm", "scale": base64(scale), "shift": base64(shift)}
        case nn.ReLU():
            yield {"kind": "relu"}
        case nn.MaxPool2d(kernel_size=2):
            yield {"kind": "pool"}
        case nn.AdaptiveAvgPool2d(output_size=1):
            yield {"kind": "average"}
        case nn.Flatten() | nn.Identity() | nn.Dropout() | Dropout():
            pass  # nothing to compute
        case _:
            raise CommandError(f"the page does not know the layer {type(module).__name__}")


def _folded(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a trained batch normalisation multiplies by, and what it adds."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    return scale, norm.bias - mean * scale


def base64(values: Tensor) -> str:
    """Numbers as text.

    Args:
        values: Of any shape.

    Returns:
        Its float32 numbers in order, the low byte first, in base64.
    """
    return b64encode(values.float().contiguous().numpy().astype("<f4").tobytes()).decode()
