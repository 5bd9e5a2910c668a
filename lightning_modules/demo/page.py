"""The page: one file with the nets inside, which asks nobody and loads nothing."""

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files

from datamodules import load_digits
from lightning_modules.command.cli import CommandError
from lightning_modules.demo.digits import Examples, choose_examples
from lightning_modules.demo.layers import Json, describe
from lightning_modules.demo.nets import Net, data_dir

LARGEST = 3_000_000  # bytes
SCRIPTS = ("handwriting.js", "network.js", "page.js")


def make_page(nets: Sequence[Net]) -> str:
    """Make the page.

    Args:
        nets: What answers on it, one at least.

    Returns:
        HTML that refers to nothing outside.

    Raises:
        CommandError: It would be too large, or a net has a part that the page cannot compute.
    """
    best_first = sorted(nets, key=lambda net: 1.0 if net.test_error is None else net.test_error)
    _, test = load_digits(data_dir(best_first[0].path))
    content = _content(best_first, choose_examples(best_first, test))
    script = "\n".join(["", '"use strict";', *map(_read, SCRIPTS)])
    page = _read("page.html").replace("<script></script>", f"<script>{script}</script>")
    page = page.replace("POLICY", content_security_policy(page))
    page = page.replace("CONTENT", json.dumps(content).replace("<", r"\u003c"))
    if (size := len(page.encode())) > LARGEST:
        raise CommandError(
            f"a page of {', '.join(net.name for net in nets)} would have {size / 1e6:.1f} MB, and"
            f" {LARGEST / 1e6:.0f} MB are the most; name fewer models, such as runs/NAME/auxiliary"
        )
    return page


def _read(name: str) -> str:
    return files("lightning_modules.demo").joinpath(name).read_text(encoding="utf-8")


def _content(nets: Sequence[Net], examples: Examples) -> Json:
    """What the page is told."""
    return {
        "nets": [
            {
                "model": net.name,
                "study": net.study,
                "recipe": net.recipe,
                "seed": net.model.seeds[0],
                "runs": net.runs,
                "ensemble": net.ensemble,
                "testError": net.test_error,
                **describe(net.model),
            }
            for net in nets
        ],
        "pixels": examples.packed(),
        "labels": examples.digits.labels.tolist(),
        "hard": examples.hard,
    }


def content_security_policy(page: str) -> str:
    """Lets the page run its own script and style, as they are, and reach nothing and nobody.

    Args:
        page: HTML, with one script and one style.
    """
    script, style = (_hash(tag, page) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )


def _hash(tag: str, page: str) -> str:
    (content,) = re.findall(f"<{tag}>(.*)</{tag}>", page, re.DOTALL)
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
