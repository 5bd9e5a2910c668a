"""Settings as a YAML file that `--config` reads back as they were."""

import re
from collections.abc import Mapping
from typing import Any

import yaml


class SettingsDumper(yaml.SafeDumper):
    """PyYAML's, but for texts such as 1e3: numbers to jsonargparse, though not to PyYAML, and so quoted."""


SettingsDumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.\d[\d_]*|\d[\d_]*(\.[\d_]*)?)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def to_yaml(settings: Mapping[str, Any]) -> str:
    """The content of a YAML file, from plain values by the names of their flags."""
    return yaml.dump(dict(settings), Dumper=SettingsDumper, sort_keys=False)
