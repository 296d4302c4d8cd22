"""The processes that another library has started, as Lightning Fabric sees them."""

from __future__ import annotations

import torch.distributed as dist
from lightning_fabric.plugins.environments.lightning import LightningEnvironment


class JoinedGroup(LightningEnvironment):
    """The processes of a group that was joined, each as a machine of its own, with a device of any number."""

    def __init__(self) -> None:
        super().__init__()
        self.set_world_size(dist.get_world_size())
        self.set_global_rank(dist.get_rank())

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def node_rank(self) -> int:
        return dist.get_rank()

    def local_rank(self) -> int:
        return 0
