"""A model from its checkpoint alone; nothing in the file is executed."""

from pathlib import Path

from lightning_modules.checkpoints import read_checkpoint
from lightning_modules.cli import CommandError
from lightning_modules.comparison import Comparison
from lightning_modules.finite import are_finite
from lightning_modules.recipes import MODULES


def load_model(path: Path) -> Comparison:
    """Load all nets of a run folder's checkpoint.

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
    classes = {module.__name__: module for module in MODULES.values() if isinstance(module, type)}
    name = checkpoint.get("model")
    if name not in classes:
        raise CommandError(f"{path} does not say which model it is of; take a checkpoint.ckpt of train.py")
    try:
        model: Comparison = classes[name](**checkpoint["hyper_parameters"])
        model.load_state_dict(checkpoint["state_dict"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CommandError(f"{path} does not fit {name}: {_first_line(error)}") from error
    return model.eval()


def refuse_diverged(model: Comparison, path: Path) -> None:
    """Refuse to ask nets that say nothing.

    Args:
        model: R nets.
        path: The checkpoint that they are of.

    Raises:
        CommandError: Some have weights that are not finite.
    """
    finite = are_finite(model.state_dict().values(), len(model.seeds))
    if lost := [str(number) for number, is_finite in enumerate(finite) if not is_finite]:
        raise CommandError(
            f"{path} has weights that are not finite in net {', '.join(lost)}: its training diverged;"
            " take another, or ask the others by predict's --replica"
        )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
