"""Where a pipeline's models run, and which thread may use them. Knows devices and locks; knows no method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from dreamcache.inference.rules import refuse

DEVICES = "a device of torch, e.g. 'cpu' or 'cuda:0'"

_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_LOCKS_LOCK = Lock()


def base_lock(unet: nn.Module) -> Any:
    """The lock of all pipelines on this U-Net, which the same thread may take again.

    Adapters and readings act through hooks on its modules, which a second thread's pass would run into.
    """
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(unet, RLock())


@contextmanager
def on_device(module: Any, device: torch.device) -> Iterator[None]:
    """Within the block, the module is on the device where passes run, though it may be kept elsewhere."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        # Offloading loads a model when its `forward` is called; the two halves of a U-Net call its parts.
        hook.pre_forward(module)
        yield
        return
    before = module.device
    if before == device:
        yield
        return
    module.to(device)
    try:
        yield
    finally:
        module.to(before)


def parse_placement(
    args: Sequence[Any], named: Mapping[str, Any]
) -> tuple[torch.device | None, torch.dtype | None]:
    """(device, dtype) of the arguments of `to`, in any order. Raises InputError."""
    unknown = sorted(set(named) - {"device", "dtype"})
    if unknown:
        refuse("to", "given device and dtype alone", ", ".join(unknown), "leave it out")
    values = {name: value for name, value in named.items() if value is not None}
    for value in args:
        name = "dtype" if isinstance(value, torch.dtype) else "device"
        if name in values:
            refuse(name, "given once", f"{values[name]} and {value}", "give one of the two")
        values[name] = value
    dtype = values.get("dtype")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        refuse("dtype", "a floating dtype of torch", repr(dtype), "e.g. torch.bfloat16")
    return _device(values["device"]) if "device" in values else None, dtype


def _device(value: Any) -> torch.device:
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError):
        refuse("device", DEVICES, repr(value), "use the name that torch has for it")
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        refuse(
            "device", DEVICES, f"'{device}' where torch finds {gpus} GPUs", "use 'cpu' or one of these GPUs"
        )
    return device
