"""What every error of runbus is made of."""

from __future__ import annotations

from typing import Any, ClassVar, dataclass_transform

_REQUIRED = object()


@dataclass_transform(eq_default=False)
class RunbusError(Exception):
    """The root of the tree.

    An error is a class with annotated fields, a `__str__` and, where possible, a `hint`:

        class RunBusy(UsageError):
            run_id: str

            def __str__(self) -> str:
                return f"run {self.run_id} is still being written"

    The rest is done here, as for a dataclass: it is made from its fields, by position or by name;
    shows them in its `repr`; equals an error of the same class and fields; and can be pickled, so
    that it can cross a process or a host. A class without fields takes its text instead.

    Attributes:
        retryable: Whether the same call may succeed later without any change by the caller.
    """

    __module__ = "runbus.errors"
    retryable: ClassVar[bool] = False
    _fields: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [name for name, kind in cls.__annotations__.items() if "ClassVar" not in str(kind)]
        defaults = vars(cls)
        cls._fields = cls._fields | {name: defaults.get(name, _REQUIRED) for name in own}
        # As type checkers expect.
        cls.__match_args__ = tuple(cls._fields)  # type: ignore[attr-defined, misc]
        if cls.__module__.startswith("runbus.errors."):
            cls.__module__ = "runbus.errors"  # where users and pickles import it from

    def __init__(self, *values: object, **named: object) -> None:
        fields = self._fields
        if not fields and not named:
            super().__init__(*values)
            return
        given = dict(zip(fields, values, strict=False))
        facts = fields | given | named
        if len(values) > len(fields) or given.keys() & named.keys() or len(facts) > len(fields):
            raise TypeError(f"{type(self).__name__} takes {', '.join(fields) or 'a text'}")
        if missing := [name for name, value in facts.items() if value is _REQUIRED]:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        super().__init__(*facts.values())
        vars(self).update(facts)

    def __reduce__(self) -> tuple[object, ...]:
        import copyreg

        # As it is now: a subclass may have an `__init__` of its own, which takes something else.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        if not self._fields:
            return super().__repr__()
        facts = zip(self._fields, self.args, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in facts)})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.args == getattr(other, "args", None)

    def __hash__(self) -> int:
        return hash(type(self))  # a field may be of a type that cannot be hashed

    @property
    def hint(self) -> str | None:
        """What to try next, one sentence without a full stop; None where nothing can be said."""
        return None

    @property
    def __notes__(self) -> list[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What Python prints below the error in a traceback: its hint, and what `add_note` adds."""
        kept = vars(self)
        if "__notes__" not in kept:
            kept["__notes__"] = [f"hint: {self.hint}"] if self.hint else []
        notes: list[str] = kept["__notes__"]
        return notes

    @__notes__.setter
    def __notes__(self, notes: list[str]) -> None:  # mostly by unpickling
        vars(self)["__notes__"] = notes
