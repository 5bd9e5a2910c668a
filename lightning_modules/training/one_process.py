"""Environment of a training that is one process, whatever variables of another job are set."""

from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port


class OneProcess(LightningEnvironment):
    """Lightning's environment, which reads no variables such as LOCAL_RANK or MASTER_ADDR.

    They may be left over from another job, or tell several studies apart that a scheduler has started.
    """

    creates_processes_externally = False
    main_address = "127.0.0.1"

    @property
    def main_port(self) -> int:
        if self._main_port == -1:
            self._main_port = find_free_network_port()
        return self._main_port

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return 0
