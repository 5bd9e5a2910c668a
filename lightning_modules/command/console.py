"""The console of all commands: it prints what it is given."""

from rich.console import Console


def make_console(quiet: bool = False) -> Console:
    """A console that leaves `[red]` and `:car:` in a name alone, and cuts no line that is to be pasted."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True, quiet=quiet)
