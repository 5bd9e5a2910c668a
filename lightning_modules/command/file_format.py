"""The format of the files that a study leaves: those of an older version are refused, not guessed at."""

from pathlib import Path
from typing import Any

from lightning_modules.command.blame import CommandError

FORMAT = "0.2.0"  # the version of digit-duel that last changed what these files hold
KEY = "format"  # its entry in each of them


def refuse_other_format(file: Path | str, found: Any) -> None:
    """Refuse a file whose entry `KEY` is not our format; files of 0.1.0 have none."""
    if found != FORMAT:
        raise CommandError(
            f"{file} was written by digit-duel {found or '0.1.0'}, and this version reads the format of"
            f" {FORMAT} alone: run the command that wrote it again, or install that version"
        )
