import random

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from lat.core.errors import InputError
from lat.engine.precision import precision_of
from lat.engine.processes import started_processes
from lat.engine.runtime import build_fabric
from lat.engine.training_settings import RuntimeSettings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accelerator", "gpu"),
        ("precision", "16"),
        ("upstream_parallel", "both"),
        ("executor", "cluster"),
        ("ray_workers", [2, 1]),
        ("num_workers", -2),
        ("images_per_batch", -1),
    ],
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(InputError, match=rf"^{field}: is "):
        RuntimeSettings(**{field: value})


def test_settings_are_a_structured_config():
    merged = OmegaConf.merge(OmegaConf.structured(RuntimeSettings), {"num_workers": 2})
    assert OmegaConf.to_object(merged) == RuntimeSettings(num_workers=2)


@pytest.mark.parametrize(
    ("chosen", "has_gpu", "has_bfloat16", "expected"),
    [
        ("auto", False, True, "32-true"),
        ("auto", True, False, "32-true"),
        ("auto", True, True, "bf16-mixed"),
        ("tf32", True, True, "32-true"),
        ("16-mixed", False, False, "16-mixed"),
    ],
)
def test_the_precision_of_a_machine(monkeypatch, chosen, has_gpu, has_bfloat16, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    assert precision_of(RuntimeSettings(precision=chosen)) == expected
    assert precision_of(RuntimeSettings(precision=chosen, accelerator="cpu")) == ("32-true" if chosen != "16-mixed" else chosen)


def test_results_are_recorded_with_one_precision_wherever_auto_runs():
    assert RuntimeSettings().recorded_precision == "32-true"
    assert RuntimeSettings(precision="bf16-mixed").recorded_precision == "bf16-mixed"


def test_everything_is_seeded():
    def numbers(seed):
        build_fabric(RuntimeSettings(accelerator="cpu"), seed=seed)
        return random.random(), np.random.rand(), torch.rand(1).item()

    first = numbers(2**40)
    assert numbers(2**40) == first
    assert all(one != other for one, other in zip(numbers(2**40 + 1), first, strict=True))


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
