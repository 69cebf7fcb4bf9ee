"""What a kernel must not leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.kernel import Kernel

__all__ = ["assert_no_leaks", "leaks"]


def leaks(kernel: Kernel) -> list[str]:
    """Return what a kernel that was left has left behind, one line each."""
    bus = kernel.bus
    found = [
        f"subscription of {sub.owner.name}: {sub.name}"
        for sub in bus.registry.subscriptions()
        if sub.owner is not bus.registry.application
    ]
    found += [f"mailbox of {box.owner}" for _, box in bus.registry.boxes()]
    found += [f"a wait for an event ({count})" for count in [bus.waiting] if count]
    for host in kernel.hosts:
        if host.task is not None and not host.task.done():
            found.append(f"the task of plugin {host.name}")
        found += [f"task {task.get_name()}" for task in host.tasks]
    return found


def assert_no_leaks(kernel: Kernel) -> None:
    """Check that a kernel that was left has left nothing behind.

    Raises:
        AssertionError: It has.
    """
    found = leaks(kernel)
    if found:
        raise AssertionError("the kernel left behind: " + ", ".join(found))
