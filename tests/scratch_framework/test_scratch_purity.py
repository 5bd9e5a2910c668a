"""Purity: of torch the framework takes only `empty`, and autograd has no part in it."""

import ast
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import scratch_framework as sf

FOLDER = Path(sf.__file__).parent
FILES = [
    FOLDER / "__init__.py",
    *(
        path
        for room in ("core", "images", "sequences", "fast")
        for path in sorted((FOLDER / room).glob("*.py"))
    ),
]
LIBRARY = {"__future__", "collections.abc", "typing"}


def imports(tree: ast.AST, typing_only: bool = False) -> Iterator[tuple[str, str, bool]]:
    """Module, name and whether it is imported for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                ("." * node.level + (node.module or ""), alias.name, typing_only) for alias in node.names
            )
        guard = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        yield from imports(node, typing_only or guard)


def is_allowed(module: str, name: str, typing_only: bool) -> bool:
    if module == "torch":
        return name == "empty" or (typing_only and name in {"Tensor", "Generator", "device", "dtype"})
    return (module, name) == ("math", "") or module in LIBRARY or module.split(".")[0] == "scratch_framework"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_imports_nothing_but_math_typing_and_empty(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [found for found in imports(tree) if not is_allowed(*found)] == []
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"__import__", "eval", "exec", "importlib"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"autograd", "requires_grad_", "grad_fn", "retain_grad"}


@pytest.mark.parametrize("path", sorted((FOLDER / "core").glob("*.py")), ids=lambda path: path.name)
def test_a_file_of_the_core_has_at_most_130_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 130


def test_the_order_of_reading_names_every_file() -> None:
    page = (FOLDER / "README.md").read_text()
    files = [path for path in FILES if path.name != "__init__.py"]
    assert [path.name for path in files if f"({path.relative_to(FOLDER)})" not in page] == []


FORBIDDEN = """
import numpy
from torch import nn, empty
from torch import Tensor
if TYPE_CHECKING:
    from torch import Tensor
def function():
    import os
"""


def test_the_walk_sees_what_is_forbidden() -> None:
    found = [found for found in imports(ast.parse(FORBIDDEN)) if not is_allowed(*found)]
    assert found == [
        ("numpy", "", False),
        ("torch", "nn", False),
        ("torch", "Tensor", False),
        ("os", "", False),
    ]


def tensors(thing: Any) -> Iterator[Tensor]:
    """All tensors that an object of the framework keeps."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, (list, tuple, dict)):
        for item in thing.values() if isinstance(thing, dict) else thing:
            yield from tensors(item)
    elif type(thing).__module__.startswith("scratch_framework"):
        for item in vars(thing).values():
            yield from tensors(item)


MODES = [torch.inference_mode, torch.no_grad, torch.enable_grad, nullcontext]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [sf.SGD, sf.Adam, sf.AdamW])
def test_a_net_learns_without_autograd_and_no_tensor_ever_requires_grad(
    mode: type[AbstractContextManager[None]], kind: type[sf.SGD | sf.Adam]
) -> None:
    torch.manual_seed(0)
    with mode():
        net = sf.Sequential(
            sf.Linear(2, 16), sf.Tanh(), sf.Dropout(0.1), sf.Linear(16, 16), sf.ReLU(), sf.Linear(16, 2)
        )
        criterion, optimizer = sf.CrossEntropyLoss(), kind(net.parameters(), lr=0.02)
        x = torch.randn(64, 2)
        target = (x[:, 0] > 0).long()
        losses = []
        for _ in range(100):
            optimizer.zero_grad()
            losses.append(criterion(net(x), target))
            net.backward(criterion.backward())
            optimizer.step()
        assert losses[-1] < 0.75 * losses[0]
        kept = [*tensors(net), *tensors(criterion), *tensors(optimizer), *losses]
    assert len(kept) > 100
    assert not any(tensor.requires_grad or tensor.grad_fn for tensor in kept)


@pytest.mark.parametrize("mode", MODES)
def test_a_net_for_images_learns_without_autograd_too(mode: type[AbstractContextManager[None]]) -> None:
    torch.manual_seed(0)
    with mode():
        trunk = sf.Sequential(
            *(sf.Conv2d(1, 4, 3), sf.MaxPool2d(2), sf.ReLU(), sf.BatchNorm2d(4), sf.Dropout(0.1)),
            *(sf.Flatten(), sf.Linear(16, 8), sf.BatchNorm1d(8)),
        )
        net, criterion = sf.SharedTrunk(trunk, sf.Linear(16, 2)), sf.CrossEntropyLoss()
        optimizer = sf.SGD(net.parameters(), lr=0.1)
        x = torch.randn(64, 2, 6, 6)
        target = (x[:, 0].sum((1, 2)) > x[:, 1].sum((1, 2))).long()
        losses = []
        for _ in range(60):
            optimizer.zero_grad()
            losses.append(criterion(net(x), target))
            net.backward(criterion.backward())
            optimizer.step()
        assert losses[-1] < losses[0] / 2
        kept = [*tensors(net), *tensors(criterion), *tensors(optimizer), *losses]
    assert not any(tensor.requires_grad or tensor.grad_fn for tensor in kept)
