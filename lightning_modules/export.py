"""One net of a checkpoint for use elsewhere: as a plain state_dict, or as ONNX."""

from pathlib import Path

import torch

from lightning_modules.cli import CommandError
from lightning_modules.comparison import Comparison
from lightning_modules.folder import whole_file, write_whole

ONNX_OUTPUTS = ("pair", "digits")  # logits (N, 1, 2) and (N, 1, 2, 10)


def export_state_dict(model: Comparison, path: Path) -> None:
    """Write a net's weights and statistics, with the names and shapes of the ordinary net.

    Args:
        model: Of one net.
        path: The file to write.

    Raises:
        OSError: It cannot be written.
    """
    with whole_file(path) as file:
        torch.save(model.network.state_dict(), file)


def export_onnx(model: Comparison, path: Path) -> None:
    """Write a net from pairs (N, 2, 14, 14) in 0..255 to logits of its answer, and of the digits it reads.

    Args:
        model: Of one net, in evaluation mode.
        path: The file to write.

    Raises:
        CommandError: A package for it is missing.
        OSError: The file cannot be written.
    """
    try:
        import onnxscript  # noqa: F401  # torch asks for it late, and in many lines
    except ImportError as error:
        raise CommandError("ONNX needs packages of its own: pip install '.[onnx]'") from error
    outputs = (
        ONNX_OUTPUTS if model.network(torch.zeros(1, 2, 14, 14)).digits is not None else ONNX_OUTPUTS[:1]
    )
    program = torch.onnx.export(
        model.network,
        (torch.zeros(5, 2, 14, 14),),
        input_names=["pairs"],
        output_names=list(outputs),
        dynamic_shapes={"pairs": {0: torch.export.Dim.DYNAMIC}},
        optimize=False,  # the optimiser of onnxscript 0.7 stumbles over a split into single rows
        verbose=False,
    )
    assert program is not None  # it is where no file is named
    write_whole(path, program.model_proto.SerializeToString())
