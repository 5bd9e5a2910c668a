"""Which of two handwritten digits is larger? Asked of a trained model, about any pictures.

Command lines:
    python -m lightning_modules.predict runs/NAME/auxiliary/checkpoint.ckpt left.png right.jpg
    python -m lightning_modules.predict CHECKPOINT folder_of_left_ones folder_of_right_ones
    python -m lightning_modules.predict CHECKPOINT pairs.csv
    python -m lightning_modules.predict CHECKPOINT --replica 0 --onnx net.onnx --state_dict net.pt
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_modules.command import cli
from lightning_modules.command.atomic_io import check_file, make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from rich.console import Console
    from rich.table import Table

    from lightning_modules.models.base import PairModule
    from lightning_modules.predict.pairing import Pair

ANSWERS, SEEN = "answers.csv", "seen.png"
SHOWN = 60  # pairs in the picture, at most
POSITIONAL = {
    "checkpoint": "checkpoint.ckpt of a run folder; the probabilities of all its nets are averaged.",
    "images": "Two images, two folders (paired by name), or a CSV file of pairs; none, only to export.",
}


def predict(
    checkpoint: str,
    images: list[str],
    replica: int | None = None,
    out: str = "runs/predict",
    onnx: str | None = None,
    state_dict: str | None = None,
    verbose: bool = False,
) -> None:
    """Say which digit of each pair is larger; or export a net.

    Args:
        checkpoint: See `POSITIONAL`.
        images: See there.
        replica: The number of the only run, from 0, whose net to ask or export; all are asked by default. A
            run of an ensemble is all its nets, averaged.
        out: Folder for answers.csv and seen.png, a picture of what the nets saw.
        onnx: File to write the net to, as ONNX.
        state_dict: File to write the net's plain state_dict to.
        verbose: Whether to show tracebacks.
    """
    if not (images or onnx or state_dict):
        raise cli.CommandError("give images, or a file to export to (--onnx, --state_dict)")
    files = {"onnx": onnx, "state_dict": state_dict}
    exported = {flag: Path(file) for flag, file in files.items() if file}
    answers = [("out", Path(out) / name) for name in (ANSWERS, SEEN) if images]
    for flag, file in (*exported.items(), *answers):
        check_file(file, flag)
    with cli.imports():
        from lightning_modules.command.console import make_console
        from lightning_modules.predict.export import export_onnx, export_state_dict
        from lightning_modules.predict.inference import printable
        from lightning_modules.predict.pairing import find_pairs

    console = make_console()
    pairs, notes = find_pairs(images) if images else ([], [])
    pictures = [path for pair in pairs for path in pair]
    keep_inputs(
        [*exported.values(), *(file for _, file in answers)],
        [Path(checkpoint), *map(Path, images), *pictures],
    )
    model = choose_nets(Path(checkpoint), replica, bool(exported), console)
    table, reasons = ask(model, pairs, Path(out)) if pairs else (None, [])
    lines = [f"no answer: {reason}" for reason in reasons]
    lines += [f"{out}: {ANSWERS}, {SEEN} (what the nets saw)"] if pairs else []
    for flag, file in exported.items():
        make_folder(file.parent, anew=False, flag=flag)
        (export_onnx if flag == "onnx" else export_state_dict)(model, file)
        lines.append(f"{file} written")
    for line in (*notes, *([table] if table else []), *lines):  # a console that fails costs no file: last
        console.print(printable(line) if isinstance(line, str) else line)
    if reasons:
        raise cli.CommandError(
            f"{len(reasons)} of {len(pairs)} pairs have no answer; {out}/{ANSWERS} says why"
        )


def keep_inputs(written: Sequence[Path], read: Sequence[Path]) -> None:
    """Refuse to write a file twice, or to replace one that is read."""
    taken = {path.resolve(): path for path in read}
    for file in written:
        if (other := taken.setdefault(file.resolve(), file)) is not file:
            what = "reads" if other in read else "writes"
            raise cli.CommandError(f"{file} would replace what this command {what}; choose another name")


def choose_nets(checkpoint: Path, replica: int | None, exporting: bool, console: Console) -> PairModule:
    """Load the nets that are meant, and say which of them diverged and are left out."""
    from lightning_modules.models.loading import load_model, select_runs

    model = load_model(checkpoint)
    count = len(model.seeds) // model.ensemble
    if replica is not None and not 0 <= replica < count:
        raise cli.CommandError(
            f"replica must be from 0 to {count - 1}, the nets of {checkpoint}, got {replica}"
        )
    if replica is None and exporting and count > 1:
        raise cli.CommandError(f"{checkpoint} holds {count} nets; say which to export by --replica")
    if lost := select_runs(model, checkpoint, replica):
        console.print(f"left out, because its training diverged: net {', '.join(map(str, lost))}")
    return model


def ask(model: PairModule, pairs: Sequence[Pair], folder: Path) -> tuple[Table, list[str]]:
    """Answer, and write the answers and what was seen.

    Returns:
        A table of the answers for the console, and why some pairs have no answer, a line each.
    """
    import torch

    from lightning_modules.predict.inference import answer, answers_table, write_answers
    from lightning_modules.results.figures import pairs_figure, write_figure

    read = [_read(pair) for pair in pairs]
    images = [pair for pair in read if not isinstance(pair, str)]
    reasons = [pair if isinstance(pair, str) else "" for pair in read]
    if len(pairs) == 1 and reasons[0]:
        raise cli.CommandError(reasons[0])
    said = answer(model, torch.stack(images)) if images else []
    rest = iter(said)
    answers = [None if reason else next(rest) for reason in reasons]
    make_folder(folder, anew=False, flag="out")
    write_answers(folder / ANSWERS, pairs, answers, reasons)
    captions = [f"{a.larger} ({100 * a.probability:.1f} %)" for a in said[:SHOWN]]
    write_figure(folder / SEEN, pairs_figure([image.numpy() for image in images[:SHOWN]], captions))
    return answers_table(pairs, answers), [reason for reason in reasons if reason]


def _read(pair: Pair) -> torch.Tensor | str:
    """Both digits of a pair, (2, 14, 14), or why they cannot be had."""
    import torch

    from lightning_modules.predict.handwriting import read_digit

    digits, reasons = [], []
    for path in pair:
        try:
            digits.append(torch.from_numpy(read_digit(path)))
        except cli.CommandError as error:
            reasons.append(" ".join(str(error).split()))
    return "; ".join(dict.fromkeys(reasons)) if reasons else torch.stack(digits)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line."""
    cli.run(predict, "python -m lightning_modules.predict", args, POSITIONAL)


if __name__ == "__main__":
    main()
