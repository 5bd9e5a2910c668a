"""A model from its checkpoint alone; nothing in the file is executed."""

from pathlib import Path

from lightning_modules.command.cli import CommandError
from lightning_modules.command.file_format import KEY, refuse_other_format
from lightning_modules.models.base import PairModule
from lightning_modules.models.registry import MODULES
from lightning_modules.replicas.checkpoints import ENSEMBLE, read_checkpoint
from lightning_modules.replicas.state import are_finite


def load_model(path: Path) -> PairModule:
    """Load all nets of a run folder's checkpoint: those that were tested, without the losers of restarts.

    Args:
        path: A checkpoint.ckpt.

    Returns:
        The model, of R nets, in evaluation mode, on the CPU.

    Raises:
        CommandError: There is no such file, or it is no such checkpoint, or damaged.
    """
    if not path.is_file():
        raise CommandError(f"{path} is no file")
    try:
        checkpoint = read_checkpoint(path)
    except ValueError as error:
        raise CommandError(
            f"{path} is no checkpoint, or damaged: {error}; take another one of train.py"
        ) from error
    classes = {module.__name__: module for module in MODULES.values()}
    name = checkpoint.get("model")
    if name not in classes:
        raise CommandError(f"{path} does not say which model it is of; take a checkpoint.ckpt of train.py")
    refuse_other_format(path, checkpoint.get(KEY))
    try:
        model: PairModule = classes[name](**checkpoint["hyper_parameters"])
        model.load_state_dict(checkpoint["state_dict"])
        ensemble = checkpoint.get(ENSEMBLE, 1)
        if not isinstance(ensemble, int) or ensemble < 1 or len(model.seeds) % ensemble:
            raise ValueError(f"{len(model.seeds)} nets are no ensembles of {ensemble!r:.80}")
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CommandError(f"{path} does not fit {name}: {_one_line(error)}") from error
    model.ensemble = ensemble
    return model.eval()


def select_runs(model: PairModule, path: Path, run: int | None = None) -> list[int]:
    """Drop all nets but those that are asked: of one run, or of all runs that did not diverge.

    Args:
        model: The nets of R runs; a run of an ensemble has several.
        path: The checkpoint that they are of.
        run: The number of the only run, below R; None for all.

    Returns:
        The numbers of the runs that were left out because they diverged.

    Raises:
        CommandError: All that were asked for have weights that are not finite.
    """
    finite = are_finite(model.state_dict().values(), len(model.seeds))
    nets = [range(first, first + model.ensemble) for first in range(0, len(finite), model.ensemble)]
    asked = list(range(len(nets))) if run is None else [run]
    lost = [number for number in asked if not all(finite[net] for net in nets[number])]
    if lost == asked:
        raise CommandError(
            f"{path} has weights that are not finite in net {', '.join(map(str, lost))}: its training"
            " diverged; take another, or ask the others by predict's --replica"
        )
    kept = [net for number in asked if number not in lost for net in nets[number]]
    if len(kept) < len(model.seeds):
        model.select(kept)
    return lost


def _one_line(error: Exception) -> str:
    """What is wrong: of a missing entry that it is missing, of torch's list of weights the first."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return " ".join((str(error) or type(error).__name__).split("\n\t")[:2])[:300]
