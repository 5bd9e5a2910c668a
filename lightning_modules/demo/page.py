"""The page, one file that refers to nothing outside, and what a browser lets it do."""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files


def read_page() -> bytes:
    """The page, as it is sent."""
    return files("lightning_modules.demo").joinpath("page.html").read_bytes()


def content_security_policy(page: bytes) -> str:
    """Lets the page run its own script and style, as they are, ask its own server, and nothing else.

    Args:
        page: HTML, with one script and one style.
    """
    script, style = (_hash(tag, page) for tag in (b"script", b"style"))
    return (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(tag: bytes, page: bytes) -> str:
    (content,) = re.findall(rb"<%b>(.*)</%b>" % (tag, tag), page, re.DOTALL)
    return f"sha256-{b64encode(sha256(content).digest()).decode()}"
