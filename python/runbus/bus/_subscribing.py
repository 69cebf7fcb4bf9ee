"""How type checkers see `on`: which handlers fit which class of events. Nothing here is run."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Concatenate, Protocol, TypeVar, overload

from runbus.events import Around, Collector, Decorate, First, Notify, Pipeline, Teardown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["Subscribe"]

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
N = TypeVar("N", bound=Notify | Teardown)
C = TypeVar("C", bound=Collector[Any])
F = TypeVar("F", bound=First[Any])
A = TypeVar("A", bound=Around)
D = TypeVar("D", bound=Decorate)
P = TypeVar("P", bound=Pipeline[Any])

Wrapper = AbstractAsyncContextManager[Any]


class Subscribe(Protocol[R_co]):
    """What `bus.on`, `scope.on` and `Plugin.on` are; there is no overload for streams.

    Those are read. What is returned is a `Subscription`, or the next `Plugin`.
    """

    @overload
    def __call__(
        self,
        event: type[N],
        handler: Callable[[N], object],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> R_co: ...

    @overload
    def __call__(
        self,
        event: type[C],
        handler: Callable[[C], Sequence[Any] | Awaitable[Sequence[Any] | None] | None],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> R_co: ...

    @overload
    def __call__(
        self,
        event: type[F],
        handler: Callable[[F], object],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> R_co: ...

    @overload
    def __call__(
        self,
        event: type[A],
        handler: Callable[[A], Wrapper | Awaitable[Wrapper]],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> R_co: ...

    @overload
    def __call__(
        self,
        event: type[D],
        handler: Callable[[D, Any], Callable[..., Any]],
        *,
        once: bool = False,
    ) -> R_co: ...

    # The class of a pipeline is also what makes one from its value: that is how the type of the
    # value is known here. Async and sync are apart, because mypy could not infer lambdas otherwise.
    @overload
    def __call__(
        self,
        event: Callable[Concatenate[T, ...], P],
        handler: Callable[[P], Awaitable[T]],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> R_co: ...

    @overload
    def __call__(
        self,
        event: Callable[Concatenate[T, ...], P],
        handler: Callable[[P], T],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> R_co: ...

    def __call__(
        self,
        event: Any,
        handler: Callable[..., Any],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> R_co:
        """Call `handler` with every event of a class, its subclasses included.

        Args:
            event: The class of events.
            handler: Called with each event; async, or sync if it never blocks.
            once: Whether to end with the first event.
            timeout: How long a call may take, in seconds; by default the event class says it.
            thread: Whether to call a sync handler in a worker thread.

        Returns:
            The subscription, to end it early; for `Plugin.on` the plugin with one more step.

        Raises:
            InvalidHandler: The handler can never work, or is subscribed already.
            InvalidOption: An option has no value that makes sense.
            WrongKind: The events of the class are read from a stream, or it is not an event class.
            BusClosed: The subscriber was closed.
            WrongLoop: This is another thread than that of the event loop, or a forked child.
        """
        ...
