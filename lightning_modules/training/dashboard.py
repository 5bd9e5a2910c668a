"""What a dashboard shows of a net beside its curves: how to repeat it, its graph, and how it reads digits."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

import torch

from lightning_modules.models.loading import load_model
from lightning_modules.results.provenance import DigitData, versions
from lightning_modules.results.tensorboard import StudyLog
from lightning_modules.training.projector import first_posteriors, write_projector


def log_text(log: StudyLog, command: str) -> None:
    """Log the command, how to repeat this net alone, and the versions."""
    program = command.partition(" --")[0]
    rows = "\n".join(f"| {name} | {version or '-'} |" for name, version in versions().items())
    text = f"""Command of the study: `{command}`

To repeat this net alone: `{program} --config {quote(str(log.folder / "config.yaml"))}`

| package | version |
|---|---|
{rows}"""
    with log.writing():
        log.writer.add_text("how to repeat", text)


def log_net(
    log: StudyLog, checkpoint: Path, data: DigitData, posteriors: Mapping[int, str], epochs: int
) -> None:
    """Log the first run's net: its graph, and for the projector its posteriors while it was trained.

    Args:
        log: Of the net's run folder.
        checkpoint: With the nets of all runs.
        data: Has the test digits.
        posteriors: Number of epochs to `first_posteriors` after them.
        epochs: For which the nets in the checkpoint were trained.
    """
    module = load_model(checkpoint).replica(0)
    with log.writing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.trace is deprecated, and the writer has nothing else
        pairs = torch.zeros(1, 2, 14, 14)
        # Traced here, because the writer would trace it twice, to compare.
        log.writer.add_graph(torch.jit.trace(module.network, pairs, check_trace=False), pairs)
    write_projector(log.folder, {**posteriors, epochs: first_posteriors(module, data)}, data.test_digits)
