"""Values that `log` left on a device: fetched in the background, many in one copy."""

from __future__ import annotations

import queue
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbus._core import MetricWriter

__all__ = ["fetch_soon", "numbers_of"]

_GATHER_S = 0.1  # As long as the disk may take: what is logged meanwhile comes in the same copy.

_waiting: queue.SimpleQueue[MetricWriter] = queue.SimpleQueue()
_thread: threading.Thread | None = None


def fetch_soon(writer: MetricWriter) -> None:
    """Have the writer fetch what it keeps, within a tenth of a second and on another thread."""
    global _thread
    _waiting.put(writer)
    # A forked child has inherited a thread that does not run.
    if _thread is None or not _thread.is_alive():
        _thread = threading.Thread(target=_fetch_all, name="runbus-devices", daemon=True)
        _thread.start()


def _fetch_all() -> None:
    pause = threading.Event()
    while True:
        writer = _waiting.get()
        pause.wait(_GATHER_S)
        writer.fetch()
        del writer  # or an unused run would live until the next one comes


def numbers_of(values: list[Any]) -> list[Any]:
    """Return the number that each value holds, with one copy for each device and type of number.

    Args:
        values: Tensors and arrays of one element.

    Raises:
        Exception: Whatever the devices' own library raises.
    """
    numbers: list[Any] = [None] * len(values)
    alike: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        if _is_tensor(value):
            alike.setdefault((value.device, value.dtype), []).append(place)
        else:
            numbers[place] = value.item()
    for (device, _), places in alike.items():
        found = _stacked(device, [values[place] for place in places])
        for place, number in zip(places, found, strict=True):
            numbers[place] = number
    return numbers


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _stacked(device: Any, tensors: list[Any]) -> list[Any]:
    torch: Any = sys.modules["torch"]
    if device.type == "cuda":
        # The loop may have made them in streams of its own, for which this thread's does not wait.
        torch.cuda.synchronize(device)
    numbers: list[Any] = torch.stack([tensor.reshape(()) for tensor in tensors]).cpu().tolist()
    return numbers
