"""One run's net for use elsewhere, or its ensemble: as a plain state_dict, or as ONNX."""

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_modules.command.atomic_io import atomic_file, atomic_write
from lightning_modules.command.cli import CommandError
from lightning_modules.evaluation.ensembling import average
from lightning_modules.models.base import PairModule
from lightning_modules.networks.pairs import Outputs
from lightning_modules.results.provenance import versions

INPUT = "float32 (N, 2, 14, 14) in 0..255: a pair of digits as MNIST has them, ink 255 on paper 0"
CLASSES = "first > second, first <= second"


class Averaged(nn.Module):
    """The nets of an ensemble as one."""

    def __init__(self, model: PairModule) -> None:
        super().__init__()
        self.network, self.count = model.network, len(model.seeds)
        self.model = (model,)  # no part of it: only its network is exported

    def forward(self, pairs: Tensor) -> Outputs:
        """Compare the digits of pairs (N, 2, 14, 14)."""
        every = torch.arange(self.count).unsqueeze(0)
        return average(self.network(pairs.repeat(1, self.count, 1, 1)), every, self.model[0])


def export_state_dict(model: PairModule, path: Path) -> None:
    """Write the state_dict of the ordinary net; of an ensemble each entry holds the nets' blocks in a row."""
    with atomic_file(path) as file:
        torch.save(model.network.state_dict(), file)


def export_onnx(model: PairModule, path: Path) -> None:
    """Write a net, or an averaged ensemble, from pairs (N, 2, 14, 14) in 0..255 to logits of answer, digits.

    The file says in its metadata what goes in and comes out, and by which versions it was written.

    Raises:
        CommandError: A package for it is missing.
        OSError: The file cannot be written.
    """
    try:
        import onnxscript  # noqa: F401  # torch asks for it late, and in many lines
    except ImportError as error:
        raise CommandError("ONNX needs packages of its own: pip install '.[onnx]'") from error
    network = Averaged(model).eval() if len(model.seeds) > 1 else model.network
    outputs = _outputs(model, network)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here needs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own code
        program = torch.onnx.export(
            network,
            (torch.zeros(5, 2, 14, 14),),
            input_names=["pairs"],
            output_names=list(outputs),
            dynamic_shapes={"pairs": {0: torch.export.Dim.DYNAMIC}},
            optimize=False,  # the optimiser of onnxscript 0.7 stumbles over a split into single rows
            verbose=False,
        )
    assert program is not None  # it is where no file is named
    proto = program.model_proto
    written = ", ".join(f"{name} {number}" for name, number in versions(("digit-duel", "torch")).items())
    metadata = {"model": type(model).__name__, "input pairs": INPUT, "classes of pair": CLASSES}
    metadata |= {f"output {name}": meaning for name, meaning in outputs.items()} | {"versions": written}
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    atomic_write(path, proto.SerializeToString())


def _outputs(model: PairModule, network: nn.Module) -> dict[str, str]:
    """The outputs of a net for ONNX, with their meanings."""
    outputs = {"pair": f"float32 (N, 1, 2): logits of {CLASSES}"}
    digits = network(torch.zeros(1, 2, 14, 14)).digits
    if digits is not None:
        what = (
            "logits of the classes 0 to 9"
            if model.has_digit_heads
            else "features, with no meaning told in training"
        )
        outputs["digits"] = f"float32 (N, 1, 2, {digits.shape[-1]}): of first and second digit the {what}"
    return outputs
