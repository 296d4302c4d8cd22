"""Two tasks on this machine as srun starts them."""

from __future__ import annotations

import socket

RANKS = ("0", "1")


def two_tasks() -> dict[str, str]:
    """What both find in their environment, with a free port; each has a rank beside it, see `rank_of_task`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    tasks = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NNODES": "1"}
    node = {"SLURM_NODEID": "0", "SLURM_JOB_ID": "1", "SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_NAME": "lat"}
    return {**tasks, **node, "MASTER_PORT": port}


def rank_of_task(rank: str) -> dict[str, str]:
    """What one of them finds too."""
    return {"SLURM_PROCID": rank, "SLURM_LOCALID": rank}
