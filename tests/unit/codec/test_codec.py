from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus import codec, events
from runbus._secrets import REDACTED
from runbus.events import HandlerFailed, Image, ImageTransform, Notify, Sensitive
from runbus.events._event import Event, descendants


class Login(Notify, frozen=True, tag="codec-test.login"):
    user: str
    password: Sensitive[str]
    deep: tuple[Login, ...] = ()
    by_name: dict[str, Login] = {}  # noqa: RUF012 - msgspec copies it


class One(Notify, frozen=True, tag="codec-test.same"):
    pass


class Two(Notify, frozen=True, tag="codec-test.same"):
    pass


class Odd(Notify, frozen=True, tag="codec-test.odd"):
    thing: object = None


@given(st.text(), st.text(), st.integers(0, 2**63 - 1))
def test_an_event_comes_back_as_it_was(plugin, error, seq):
    event = HandlerFailed(plugin=plugin, handler="h", event="E", seq=seq, error=error, failures=1)

    assert codec.decode_event(codec.encode_event(event)) == event
    assert codec.event_from_plain(codec.event_to_plain(event)) == event


def test_a_pipeline_event_keeps_its_value():
    event = ImageTransform(Image(pip=("numpy",)), job="j")

    assert codec.decode_event(codec.encode_event(event)) == event


def test_every_tag_of_ours_is_unique_and_leads_to_its_class():
    classes = [
        cls
        for cls in map(vars(events).get, events.__all__)
        if isinstance(cls, type) and issubclass(cls, Event) and cls.__module__ != Event.__module__
    ]

    assert len(classes) > 10
    for cls in classes:
        assert codec.event_class(codec.tag_of(cls)) is cls


BAD = [
    (b"", "truncated"),
    (b"\x80", "type"),
    (b"\x81\xa4type\xa4nope", "no event class with tag 'nope'"),
    (b"\x81\xa4type\xb0codec-test.login", "user"),
    (b"hello", "."),
]


@pytest.mark.parametrize(("data", "said"), BAD)
def test_bytes_that_are_no_event_are_refused(data, said):
    with pytest.raises(codec.DecodeError, match=said):
        codec.decode_event(data)


def test_a_tag_of_two_classes_is_refused_with_both_names():
    with pytest.raises(codec.DecodeError, match=r"One and .*Two"):
        codec.event_class("codec-test.same")


def test_sensitive_fields_are_redacted_at_any_depth_and_the_event_is_not_changed():
    inner = Login("b", "s3cret-b")
    event = Login("a", "s3cret-a", (inner,), {"c": Login("c", "s3cret-c")})
    plain = codec.event_to_plain(event)

    assert "s3cret" not in repr(plain)
    assert plain["password"] == plain["deep"][0]["password"] == REDACTED
    assert (plain["user"], plain["by_name"]["c"]["user"]) == ("a", "c")
    assert event.password == "s3cret-a"
    assert codec.event_to_plain(event, redact=False)["password"] == "s3cret-a"


def test_what_is_no_data_is_shown_as_its_repr_and_refused_on_the_wire():
    event = Odd(thing=object)

    assert "class 'object'" in codec.event_to_plain(event)["thing"]
    with pytest.raises(TypeError):
        codec.encode_event(event)


def test_json_is_read_into_a_type_and_written_back():
    assert codec.decode_json(b'{"base": "x"}', Image) == Image(base="x")
    assert codec.encode_json({"a": [1, None]}) == b'{"a":[1,null]}'
    assert codec.encode_json({"a": 1}, indent=2) == b'{\n  "a": 1\n}'
    assert codec.convert({"python": "3.12"}, Image) == Image(python="3.12")
    for bad in (b"{", b'{"base": 3}'):
        with pytest.raises(codec.DecodeError):
            codec.decode_json(bad, Image)


def test_descendants_are_found_once_each():
    found = descendants(Event)

    assert len(found) == len(set(found))
    assert Login in found
