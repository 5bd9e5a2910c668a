"""One run's net for use elsewhere, or its ensemble: as a plain state_dict, or as ONNX."""

from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_modules.command.atomic_io import whole_file, write_whole
from lightning_modules.command.cli import CommandError
from lightning_modules.evaluation.ensembling import average
from lightning_modules.models.base import PairModule
from lightning_modules.networks.pairs import Outputs

ONNX_OUTPUTS = ("pair", "digits")  # logits (N, 1, 2) and (N, 1, 2, 10)


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
    with whole_file(path) as file:
        torch.save(model.network.state_dict(), file)


def export_onnx(model: PairModule, path: Path) -> None:
    """Write a net, or an averaged ensemble, from pairs (N, 2, 14, 14) in 0..255 to logits of answer, digits.

    Raises:
        CommandError: A package for it is missing.
        OSError: The file cannot be written.
    """
    try:
        import onnxscript  # noqa: F401  # torch asks for it late, and in many lines
    except ImportError as error:
        raise CommandError("ONNX needs packages of its own: pip install '.[onnx]'") from error
    network = Averaged(model).eval() if len(model.seeds) > 1 else model.network
    digits = network(torch.zeros(1, 2, 14, 14)).digits
    outputs = ONNX_OUTPUTS if digits is not None else ONNX_OUTPUTS[:1]
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
    write_whole(path, program.model_proto.SerializeToString())
