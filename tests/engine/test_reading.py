"""How many processes read beside those that compute, and the shared memory that they need."""

from __future__ import annotations

import pytest

from lat.core.errors import InputError
from lat.engine import reading
from lat.engine.reading import check_shared_memory, fitting_workers, free_shared_memory, shared_bytes, wanted_workers
from lat.engine.training_settings import RuntimeSettings


@pytest.mark.parametrize(
    ("cores", "here", "on_cpu", "beside_gpu"),
    [(1, 1, 0, 1), (2, 1, 0, 1), (4, 1, 1, 3), (16, 1, 4, 15), (16, 4, 1, 3), (128, 1, 16, 16), (4, 8, 0, 1)],
)
def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, here: int, on_cpu: int, beside_gpu: int) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(reading, "available_cores", lambda: cores)
    runtime = RuntimeSettings()
    assert wanted_workers(runtime, here, has_gpu=False) == on_cpu
    assert wanted_workers(runtime, here, has_gpu=True) == beside_gpu
    assert wanted_workers(RuntimeSettings(num_workers=7), here, has_gpu=False) == 7
    assert wanted_workers(RuntimeSettings(num_workers=0), here, has_gpu=True) == 0


def test_a_process_of_one_thread_computes_alone_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "available_cores", lambda: 16)
    for threads, expected in (("1", 0), ("8", 2), ("8,2", 2), ("many", 4), ("64", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert wanted_workers(RuntimeSettings(), 1, has_gpu=False) == expected
        assert wanted_workers(RuntimeSettings(), 1, has_gpu=True) == 15


def test_shared_memory_holds_the_batches_read_ahead_and_the_one_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three processes read two batches each ahead, and one batch is in use: 7 batches of 10 bytes.
    assert shared_bytes(3, 10) == 70
    assert shared_bytes(0, 10) == 0
    for room, fitting in ((70, 3), (69, 2), (50, 2), (30, 1), (29, 0), (0, 0), (None, 3)):
        monkeypatch.setattr(reading, "free_shared_memory", lambda room=room: room)
        assert fitting_workers(3, 10) == fitting


def test_too_little_shared_memory_is_one_line_with_what_would_be_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "free_shared_memory", lambda: 2**26)
    check_shared_memory(1, 2**24)
    with pytest.raises(InputError) as caught:
        check_shared_memory(8, 2**27)
    assert str(caught.value) == (
        "runtime.num_workers: is 8, which takes 2.1 GiB of shared memory, and /dev/shm has 0.1 GiB free; "
        "set runtime.num_workers=0, or enlarge /dev/shm (docker run --shm-size=3g)"
    )


def test_free_shared_memory_is_found_where_there_is_such_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_shared_memory() is None or free_shared_memory() > 0
    monkeypatch.setattr(reading, "SHARED_MEMORY", "/no/such/place")
    assert free_shared_memory() is None
