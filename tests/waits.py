"""A device that there is not, to count how often a program waits for a device, and to fail where it mixes the two.

`with counted_waits() as waits:` takes tensors that say they are on the device `ELSEWHERE`; the CPU computes them. A wait is
what would make CUDA's host wait for everything queued before: reading a number (`item`, `tolist`, `bool(tensor)`), a result
whose size depends on values (`nonzero`, a mask as an index, `unique`, NMS), a copy to the host (`cpu`), and a copy to the device
out of ordinary memory (also `torch.tensor(list, device=...)`). A copy with `non_blocking` counts as none: to the device,
`lat.core.copies` pins its memory; to the host, PyTorch does, and whoever reads the copy waits for an event. `test_waits.py` holds
what counts.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from lat.models.backbones.frozen import FrozenBackbone

ELSEWHERE = torch.device("meta")

_SIZED_BY_VALUES = ("nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim", "unique_dim_consecutive", "nms")
_READ = ("_local_scalar_dense", "equal", "is_nonzero", "allclose")
_INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put")
_tensor, _tolist = torch.tensor, Tensor.tolist  # the library's own
_COPIES = ("_to_copy", "copy_")


class _There(Tensor):
    """A tensor that says it is elsewhere."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _There:
        there: _There = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=ELSEWHERE
        )
        there.held = held
        return there

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"elsewhere({tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} of a tensor elsewhere outside of `with Waits()`")


class Waits(TorchDispatchMode):
    """Counts waits; see the module.

    Attributes:
        found: a line per wait: the operation, and the line of `lat` that asked for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __len__(self) -> int:
        return len(self.found)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name, tensors = func.overloadpacket.__name__, [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        is_there = any(isinstance(one, _There) for one in tensors)
        wanted = kwargs.get("device")
        if name in _COPIES:
            return self._copied(func, name, args, kwargs)
        if is_there:
            self._check(name, args, kwargs, tensors)
        makes_there = is_there if wanted is None else torch.device(wanted) == ELSEWHERE
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        return _kept(func, args, kwargs, makes_there)

    def _copied(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        if name == "copy_":
            into, from_, *rest = args
            non_blocking = kwargs.get("non_blocking", bool(rest and rest[0]))
        else:
            (from_,), into = args, None
            non_blocking = kwargs.get("non_blocking", False)
        was_there, wanted = isinstance(from_, _There), kwargs.get("device")
        goes_there = was_there if wanted is None else torch.device(wanted) == ELSEWHERE
        if into is not None:
            goes_there = isinstance(into, _There)
        if was_there and not goes_there and (into is not None or not non_blocking):
            self._note("to the host")
        if goes_there and not was_there and not non_blocking and not (name == "copy_" and from_.dim() == 0):
            self._note("to the device, blocking")
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        return _kept(func, args, kwargs, goes_there)

    def made_of(self, data: Any, dtype: torch.dtype | None) -> Tensor:
        """A tensor elsewhere of a list of numbers."""
        self._note("to the device, blocking")
        return _There(_tensor(data, dtype=dtype))

    def read(self, one: _There) -> Any:
        """The numbers of a tensor elsewhere."""
        self._note("tolist")
        return _tolist(one.held)

    def _check(self, name: str, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> None:
        if name in _READ or name in _SIZED_BY_VALUES or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self._note(name)
        here = [one for one in tensors if not isinstance(one, _There) and one.dim()]
        if name in _INDEXED:
            indices = [one for one in args[1] if one is not None]
            if any(one.dtype in (torch.bool, torch.uint8) for one in indices):
                self._note("a mask as an index")
            if any(not isinstance(one, _There) for one in indices):
                self._note("an index from the host")
            here = [one for one in here if not any(one is index for index in indices)]
        assert not here, f"{name} mixes tensors here and elsewhere: {[tuple(one.shape) for one in here]}\n{_where()}"

    def _note(self, what: str) -> None:
        self.found.append(f"{what}: {_where()}")


def _kept(func: Any, args: Any, kwargs: Any, makes_there: bool) -> Any:
    """The result of an operation on what tensors hold; those that it changed in place stay the same objects."""
    holders = {id(one.held): one for one in tree_flatten((args, kwargs))[0] if isinstance(one, _There)}
    args, kwargs = tree_map_only(_There, lambda one: one.held, (args, kwargs))
    result = func(*args, **kwargs)

    def kept(one: Tensor) -> Tensor:
        if id(one) in holders:
            return holders[id(one)]
        return _There(one) if makes_there else one

    return tree_map_only(Tensor, kept, result)


def _where() -> str:
    """The last line of a caller outside of torch and this file."""
    frames = [one for one in traceback.extract_stack() if "/torch/" not in one.filename and one.filename != __file__]
    return " < ".join(f"{'/'.join(Path(one.filename).parts[-2:])}:{one.lineno}" for one in frames[:-4:-1])


class _Done:
    """An event of a device that has done it."""

    def record(self) -> None:
        pass

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


def there(value: Any) -> Any:
    """A tensor, or a module with all its parameters and buffers, elsewhere."""
    if isinstance(value, Tensor):
        return _There(value.detach())
    assert isinstance(value, nn.Module)
    if isinstance(value, FrozenBackbone):
        there(value.network)
    for module in value.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = _There(parameter.detach())  # type: ignore[assignment]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _There(buffer)
    return value


@contextmanager
def counted_waits() -> Iterator[Waits]:
    """Count waits, without gradients; autocast, which does not know the device, is left out."""
    waits = Waits()

    def tensor(data: Any, dtype: torch.dtype | None = None, device: Any = "cpu", **more: Any) -> Tensor:
        return waits.made_of(data, dtype) if torch.device(device or "cpu") == ELSEWHERE else _tensor(data, dtype=dtype, **more)

    def tolist(one: Tensor) -> Any:
        return waits.read(one) if isinstance(one, _There) else _tolist(one)

    def new_tensor(one: Tensor, data: Any, dtype: torch.dtype | None = None) -> Tensor:
        return tensor(data, dtype or one.dtype, one.device)

    changed: dict[tuple[Any, str], Any] = {(torch, "tensor"): tensor, (Tensor, "new_tensor"): new_tensor}
    changed[Tensor, "tolist"] = tolist
    changed |= {(torch, "autocast"): lambda *_, **__: nullcontext(), (torch.cuda, "Event"): _Done}
    changed[torch, "inference_mode"] = lambda *_: torch.no_grad()  # which such tensors do not know either
    with ExitStack() as stack:
        for (owner, name), replacement in changed.items():
            stack.enter_context(patch.object(owner, name, replacement))
        stack.enter_context(torch.no_grad())
        yield stack.enter_context(waits)
