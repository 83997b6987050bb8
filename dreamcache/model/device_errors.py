"""What an exception of torch says of the device. Knows torch's errors only."""

from __future__ import annotations

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Of the device or of the machine; torch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def is_device_lost(error: Exception) -> bool:
    """Whether a CUDA error has spoilt this process's context; running out of memory has not."""
    return isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError)
