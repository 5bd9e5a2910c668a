"""Flags of a command: its parser, its settings files, and one line for whatever is wrong with them."""

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.command.blame import CommandError
from lightning_modules.command.masking import masked_output
from lightning_modules.command.plain import nearest, plain
from lightning_modules.command.settings import Flag

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

# Flags by their names, in all commands: paths, where ~ is the home folder, and names, where it is not.
PATHS = frozenset(
    ("log_dir", "data_dir", "out", "folder", "checkpoint", "images", "onnx", "state_dict", "studies", "nets")
)
NAMES = frozenset(("name", "study_name"))
BOOLEANS = ("true", "false", "yes", "no", "null")


def make_parser(
    command: Callable[..., None], prog: str, positional: Mapping[str, str], flags: Sequence[Flag]
) -> "ArgumentParser":
    """A parser of a command's flags, and of its arguments that are no flags; see `cli.run`."""
    from jsonargparse import ArgumentParser  # here, so that Ctrl-C during its import is met too

    parser = ArgumentParser(prog=prog, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of these settings; later flags win.")
    meaning = "Show what libraries say, and tracebacks."
    parser.add_argument("-v", "--verbose", type=bool, default=False, help=meaning)
    for number, (name, meaning) in enumerate(positional.items(), 1):
        parser.add_argument(name, nargs="*" if number == len(positional) else None, help=meaning)
    if not flags:
        parser.add_function_arguments(command, skip={"verbose", *positional})
    group = parser.add_argument_group((command.__doc__ or "").partition("\n")[0])
    for flag in (flag for flag in flags if flag.name != "verbose"):
        group.add_argument(f"--{flag.name}", type=flag.type, default=flag.default, help=flag.help)
    for action in _booleans(parser):
        action.nargs, action.const = "?", True
    for action in _of_type(parser, str | None):
        action._typehint = str  # type: ignore[attr-defined]  # else a folder called null would be None
    return parser


def asks_for_traceback(args: Sequence[str]) -> bool:
    """Whether the flags say ``--verbose``, also where others of them are wrong."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-v", "--verbose", nargs="?", default="false", const="true")
    return parser.parse_known_args(args)[0].verbose.lower() not in ("false", "no", "null")


def read_files(args: Sequence[str]) -> dict[str, Any]:
    """All settings of the files that flags name.

    Raises:
        CommandError: A file holds no settings; jsonargparse would not say which file.
    """
    import yaml

    together: dict[str, Any] = {}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="append", nargs="?", default=[])
    for name in parser.parse_known_args(args)[0].config:
        if name is None or not Path(_expanded(name)).is_file():
            continue  # jsonargparse says so
        what = f"{name} must be a YAML file of settings, such as a run's config.yaml"
        try:
            loader = yaml.SafeLoader(Path(_expanded(name)).read_text(encoding="utf-8"))
            root = loader.get_single_node()
            keys = [key.value for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
            settings = root and loader.construct_document(root)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise CommandError(f"{what}: {error}") from error
        if not isinstance(settings, dict):
            raise CommandError(f"{what}: it holds no settings by name")
        for flag, value in settings.items():
            items = value if isinstance(value, list) else [value]
            if any(isinstance(item, list | dict) for item in items):
                raise CommandError(f"{what}: {flag} must be a plain value")
        if repeated := [key for key in keys if keys.count(key) > 1]:
            raise CommandError(f"{what}: it has {repeated[0]} {keys.count(repeated[0])} times")
        together |= settings
    return together


def parse(parser: "ArgumentParser", args: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Parse a command's flags.

    Args:
        parser: Of the command.
        args: The flags.
        settings: What their settings files hold.

    Returns:
        Values by name, with the home folder for ~ in paths.

    Raises:
        CommandError: A flag does not exist or is of another type, or a path or name cannot be one.
    """
    has_positional = any(not action.option_strings for action in parser._actions)
    try:
        with masked_output():  # of --print_config
            options = vars(parser.parse_args(_spelt_out(parser, args) if has_positional else args))
    except argparse.ArgumentError as error:
        raise CommandError(_wrong_flag(parser, " ".join(str(error).split()))) from error
    options.pop("config")
    for flag, value in options.items():
        texts = value if isinstance(value, list) else [value]
        if flag in PATHS | NAMES and "" in texts:  # as a shell makes it of a variable that is not set
            raise CommandError(f"{flag} must not be empty")
        if flag in PATHS and any("\0" in text for text in texts if text):
            raise CommandError(f"{flag} must be a path, which holds no null character, got {value!r}")
        if flag in NAMES and value is None and flag in settings:
            raise CommandError(f"{flag} must not be null; leave it out for what is the default")
    return {flag: _at_home(value) if flag in PATHS else value for flag, value in options.items()}


def _booleans(parser: "ArgumentParser") -> list[argparse.Action]:
    return _of_type(parser, bool, bool | None)


def _of_type(parser: "ArgumentParser", *types: Any) -> list[argparse.Action]:
    return [action for action in parser._actions if getattr(action, "_typehint", None) in types]


def _spelt_out(parser: "ArgumentParser", args: Sequence[str]) -> list[str]:
    """Give a boolean flag that stands alone its value, lest a positional argument be taken for it."""
    flags = {flag for action in _booleans(parser) for flag in action.option_strings}
    return [
        f"{arg}=true" if arg in flags and following.lower() not in BOOLEANS else arg
        for arg, following in pairwise([*args, ""])
    ]


def _at_home(value: Any) -> Any:
    """A path with the home folder for ~, which a shell leaves in `--out=~/x`, and a settings file has."""
    if isinstance(value, list):
        return [_expanded(path) for path in value]
    return value and _expanded(value)


def _expanded(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111  # Path.expanduser fails where there is no such user


def _wrong_flag(parser: "ArgumentParser", text: str) -> str:
    """What jsonargparse says; of a value of another type what `plain` says of it, in Python as here."""
    text = re.sub(r'^Parser key "(\w+)":', r"--\1:", text)
    if wrong := re.fullmatch(r"--(\w+): .*(?:Got|Given) value: ?(.*)", text):
        name, value = wrong.groups()
        hint = next(getattr(action, "_typehint", str) for action in parser._actions if action.dest == name)
        try:
            plain(f"--{name}", value, hint)
        except ValueError as error:
            return str(error)
        return f"--{name} must be text, got {value} from a settings file; put it in quotes there"
    if text.startswith("--"):
        return text
    meant, flags = "", [flag for action in parser._actions for flag in action.option_strings]
    if text.startswith("unrecognized arguments: --"):
        meant = nearest(text.split()[2].partition("=")[0], flags)
    elif unknown := re.match(r"Option '(\S+)' is not accepted", text):  # of a settings file
        names = {flag.removeprefix("--") for flag in flags} - {unknown[1]}  # --help is no setting
        meant = nearest(unknown[1], sorted(names))
    return f"{text}; --help lists all flags{meant}"
