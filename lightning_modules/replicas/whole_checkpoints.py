"""How a Trainer writes its checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning_fabric.utilities.types import _PATH

from lightning_modules.replicas.checkpoints import write_checkpoint


class WholeCheckpoints(TorchCheckpointIO):
    """How a Trainer writes checkpoints: whole or not at all, with further entries where asked."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What Lightning wants to keep.
            path: The file.
            storage_options: Further entries, by name.
        """
        write_checkpoint({**checkpoint, **(storage_options or {})}, Path(path))
