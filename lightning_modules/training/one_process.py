"""A training that is one process by itself, whatever variables of another job the environment holds."""

from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port


class OneProcess(LightningEnvironment):
    """Lightning's environment, but that nothing is read from variables such as LOCAL_RANK or MASTER_ADDR.

    They may be left over from another job, or tell several studies apart that a scheduler has started.
    """

    @property
    def creates_processes_externally(self) -> bool:
        """Nobody else has started processes for this training."""
        return False

    @property
    def main_address(self) -> str:
        """This machine."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """A port that is free."""
        if self._main_port == -1:
            self._main_port = find_free_network_port()
        return self._main_port

    def local_rank(self) -> int:
        """The number of the only process."""
        return 0

    def node_rank(self) -> int:
        """The number of the only machine."""
        return 0
