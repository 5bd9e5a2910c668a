"""What a dashboard shows of a trained net beside its curves: how to repeat it, its graph, and its digits."""

import warnings
from pathlib import Path
from shlex import quote
from shutil import rmtree

import torch

from lightning_modules.models.base import PairModule
from lightning_modules.models.loading import load_model
from lightning_modules.results.provenance import DigitData, versions
from lightning_modules.results.tensorboard import StudyLog

DIGITS = 1000  # test digits in the projector: 0.5 MB of files


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


def log_net(log: StudyLog, checkpoint: Path, data: DigitData) -> None:
    """Log the graph of the first run's net, and what it takes test digits for, where it has ten classes.

    Args:
        log: Of the net's run folder.
        checkpoint: With the nets of all runs.
        data: Has the test digits.
    """
    module = load_model(checkpoint).replica(0)
    with log.writing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.trace is deprecated, and the writer has nothing else
        log.writer.add_graph(module.network, torch.zeros(1, 2, 14, 14))
    images, labels = data.test_digits.images[:DIGITS], data.test_digits.labels[:DIGITS]
    posteriors = _posteriors(module, images)
    if posteriors is None or not posteriors.isfinite().all():
        return
    rmtree(log.folder / f"{log.step:05}", ignore_errors=True)  # of a study that was killed right here
    with log.writing():
        pictures = images.view(-1, 1, 14, 14).float() / 255
        log.writer.add_embedding(posteriors, labels.tolist(), pictures, log.step, "digit_posteriors")


@torch.no_grad()
def _posteriors(module: PairModule, images: torch.Tensor) -> torch.Tensor | None:
    """The probabilities of the classes of digits (N, 14, 14) in one net, (N, 10); None where it has none."""
    outputs = module(images.view(-1, 1, 14, 14).expand(-1, 2, 14, 14))
    if outputs.digits is None or not module.network.net.head.reads_classes:
        return None
    return outputs.digits[:, 0, 0].float().softmax(-1)
