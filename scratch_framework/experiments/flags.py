"""Flags that both chapters' commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from lightning_modules.command.run_flags import RunFlags
from lightning_modules.command.settings import setting

Net: TypeAlias = Literal["mlp", "cnn", "weight_sharing", "auxiliary"]


@dataclass(frozen=True)
class ScratchFlags(RunFlags):
    """Flags of ``python -m scratch_framework``, whichever net it trains."""

    net: Net = setting(
        "mlp",
        "Which network: mlp tells points inside a disc from points outside; the others, for digits, have"
        " other flags: --net cnn --help.",
    )
    precision: Literal["32-true", "64-true"] = setting("32-true", "Type to compute in, by Lightning's names.")
    name: str | None = setting(
        None, "Folder of this study in log_dir, which must not exist; a unique one by default."
    )
    verbose: bool = setting(False, "Whether to show tracebacks.")

    def config(self) -> dict[str, Any]:
        """The flags that repeat this experiment under another name."""
        return {name: value for name, value in vars(self).items() if name not in ("name", "verbose")}
