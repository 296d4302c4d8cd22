import random

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from lat.core.errors import InputError
from lat.engine.processes import started_processes
from lat.engine.runtime import build_fabric
from lat.engine.training_settings import RuntimeSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accelerator", "gpu"),
        ("precision", "16"),
        ("upstream_parallel", "both"),
        ("devices", 0),
        ("num_workers", -1),
        ("threads", -1),
    ],
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(InputError, match=rf"^{field}: is "):
        RuntimeSettings(**{field: value})


def test_settings_are_a_structured_config():
    merged = OmegaConf.merge(OmegaConf.structured(RuntimeSettings), {"threads": 2})
    assert OmegaConf.to_object(merged) == RuntimeSettings(threads=2)


def test_everything_is_seeded():
    def numbers(seed):
        build_fabric(RuntimeSettings(accelerator="cpu"), seed=seed)
        return random.random(), np.random.rand(), torch.rand(1).item()

    first = numbers(2**40)
    assert numbers(2**40) == first
    assert all(one != other for one, other in zip(numbers(2**40 + 1), first, strict=True))


def test_threads_are_set():
    before = torch.get_num_threads()
    try:
        build_fabric(RuntimeSettings(accelerator="cpu", threads=before + 1), seed=0)
        assert torch.get_num_threads() == before + 1
        build_fabric(RuntimeSettings(accelerator="cpu"), seed=0)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_more_devices_than_processes_is_refused_with_the_command():
    with pytest.raises(InputError, match=r"runtime\.devices: is 2, but 1 process was started.*torchrun --nproc-per-node 2"):
        build_fabric(RuntimeSettings(accelerator="cpu", devices=2), seed=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(InputError, match=r"runtime\.accelerator: is 'cuda', which this machine does not have"):
        build_fabric(RuntimeSettings(accelerator="cuda"), seed=0)


def test_a_batch_script_of_slurm_is_one_process_and_srun_starts_several(monkeypatch):
    script = {
        "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "2",
        "SLURM_JOB_NAME": "lat",
        "SLURM_PROCID": "0",
    }
    for name, value in script.items():
        monkeypatch.setenv(name, value)
    assert started_processes() == (1, 1)
    assert build_fabric(RuntimeSettings(accelerator="cpu"), seed=0).world_size == 1
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert started_processes() == (2, 2)
