"""What a plugin is configured with fits its fields or JSON Schema, or every mistake is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.errors import SchemaInvalid
from runbus.plugins import check_config
from runbus.plugins._config_schema import is_json_schema, with_defaults

FIELDS: dict[str, Any] = {
    "url": {"type": "string", "required": True, "min": 3},
    "timeout": {"type": "number", "default": 30, "min": 0, "max": 60},
    "tries": {"type": "integer", "enum": [1, 2, 3]},
    "loud": {"type": "boolean"},
    "tags": {"type": "array", "items": {"type": "string"}, "max": 2},
    "proxy": {"type": "object", "properties": {"port": {"type": "integer", "required": True}}},
    "code": {"type": "string", "secret": True},
}


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        ({"url": "abc"}, []),
        ({"url": "abc", "timeout": 0, "tries": 3, "loud": False, "tags": ("a",)}, []),
        ({}, ["url: is missing"]),
        ({"url": "ab"}, ["url: its length must be at least 3"]),
        ({"url": 3, "loud": 1}, ["url: is not a text, but 3", "loud: is not true or false, but 1"]),
        ({"url": "abc", "timeout": 61}, ["timeout: it must be at most 60"]),
        (
            {"url": "abc", "timeout": float("nan")},
            ["timeout: it must be at least 0", "timeout: it must be at most 60"],
        ),
        ({"url": "abc", "timeout": True}, ["timeout: is not a number, but True"]),
        ({"url": "abc", "tries": 4}, ["tries: is 4, not one of 1, 2, 3"]),
        ({"url": "abc", "tries": 1.0}, ["tries: is not a whole number, but 1.0"]),
        (
            {"url": "abc", "tags": ["a", 2, "c"]},
            ["tags: its length must be at most 2", "tags[1]: is not a text, but 2"],
        ),
        ({"url": "abc", "proxy": {}}, ["proxy.port: is missing"]),
        (
            {"url": "abc", "proxy": {"port": 1, "prot": 2}},
            ["proxy.prot: is unknown; did you mean 'port'"],
        ),
        ({"url": "abc", "code": 1234}, ["code: is not a text"]),
        ({"ulr": "abc"}, ["url: is missing", "ulr: is unknown; did you mean 'url'"]),
    ],
    ids=range(15),
)  # fmt: skip
def test_every_mistake_is_told_with_its_place(config: Any, problems: list[str]) -> None:
    assert [str(one) for one in check_config(FIELDS, config)] == problems


@pytest.mark.parametrize("config", [None, [], "url", 3, {3: 1}], ids=str)
def test_what_is_no_mapping_of_names_is_a_mistake(config: Any) -> None:
    assert len(check_config(FIELDS, config)) == 1


def test_defaults_are_filled_in_as_values_of_their_own() -> None:
    schema = {
        "tags": {"type": "array", "default": ["a"]},
        "proxy": {"type": "object", "properties": {"port": {"type": "integer", "default": 80}}},
    }
    filled = with_defaults(schema, {"proxy": {}})
    filled["tags"].append("b")

    assert filled == {"tags": ["a", "b"], "proxy": {"port": 80}}
    assert with_defaults(schema, {})["tags"] == ["a"]


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"url": "string"}, "url"),
        ({"url": {"type": "text"}}, "url.type"),
        ({"url": {"tpye": "string"}}, "url"),
        ({"url": {"type": "string", "required": "yes"}}, "url.required"),
        ({"n": {"type": "number", "min": "0"}}, "n.min"),
        ({"n": {"type": "number", "enum": 3}}, "n.enum"),
        ({"n": {"type": "number", "default": "x"}}, "n.default"),
        ({"a": {"type": "array", "items": {"type": "x"}}}, "a.items.type"),
        ({"o": {"type": "object", "properties": {"p": 3}}}, "o.p"),
    ],
    ids=range(9),
)
def test_a_schema_that_is_none_is_told_with_its_place(schema: Any, where: str) -> None:
    with pytest.raises(SchemaInvalid) as wrong:
        check_config(schema, {})
    assert wrong.value.where == where


JSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "minLength": 3},
        "tries": {"enum": [1, 2]},
        "api_key": {"type": "string", "minLength": 20},
        "inner": {"type": "object", "properties": {"password": {"const": "right"}}},
        "hooks": {"type": "array", "items": {"type": ["string", "null"]}},
    },
    "required": ["url"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        ({"url": "abc", "hooks": ["a", None]}, []),
        ({}, ["url: is missing"]),
        ({"url": "ab"}, ["url: does not fit minLength 3"]),
        ({"url": 3}, ["url: is not of type string, but 3"]),
        ({"url": "abc", "tries": 3}, ["tries: is 3, not 1, 2"]),
        ({"url": "abc", "trise": 3}, ["trise: is unknown; did you mean 'tries'"]),
        ({"url": "abc", "api_key": "s3cret"}, ["api_key: does not fit minLength"]),
        (
            {"url": "abc", "inner": {"password": "s3cret"}},
            ["inner.password: is not one of its choices"],
        ),
        ({"url": "abc", "hooks": [3]}, ["hooks[0]: is not of type string or null, but 3"]),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_json_schema_is_checked_as_one(config: Any, problems: list[str]) -> None:
    assert [str(one) for one in check_config(JSON, config)] == problems


SECRETIVE: list[dict[str, Any]] = [
    {"api_key": {"type": "integer"}, "o": {"type": "string"}, "token": {"enum": [1]}},
    {
        "type": "object",
        "properties": {
            "api_key": {"type": "integer"},
            "o": {"type": "string"},
            "token": {"enum": [1]},
        },
    },
    {
        "type": "object",
        "properties": {
            "o": {"not": {}},
            "api_key": {"oneOf": [{"type": "integer"}, {"type": "null"}]},
            "token": {"pattern": "^x$", "maxLength": 1},
        },
    },
]


@given(secret=st.text(min_size=6).filter(lambda text: "'" not in text and text.isprintable()))
def test_no_secret_is_part_of_a_message(secret: str) -> None:
    secret = f"§{secret}§"
    wrong: list[Any] = [secret, [secret], {"x": secret}, {"api_key": secret}]
    for value in wrong:
        for schema in SECRETIVE:
            config = {"api_key": value, "token": value}
            if not isinstance(value, str):
                config["o"] = value
            problems = check_config(schema, config)
            assert problems
            assert secret not in "".join(map(repr, problems))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"u": {"pattern": "(a+)+$"}}},
        {"type": "object", "properties": {"u": {"pattern": "(a|aa)+$"}}},
        {"type": "object", "properties": {"u": {"pattern": "("}}},
        {"$ref": "#"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/passwd"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/nowhere"},
        {
            "$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
            | {"a40": {}},
            "$ref": "#/$defs/a0",
        },
        {"type": "objekt"},
        {"type": "object", "properties": {"u": 3}},
    ],
    ids=range(10),
)
def test_a_schema_that_would_take_for_ever_or_reach_out_is_refused(schema: Any) -> None:
    # What it would take for them is more than the minute that a test has.
    with pytest.raises(SchemaInvalid):
        check_config(schema, {"u": "a" * 50 + "b"})


def test_a_text_that_is_too_long_for_a_pattern_does_not_fit() -> None:
    schema = {"type": "object", "properties": {"u": {"pattern": "^a*a*a*a*b$"}}}

    assert check_config(schema, {"u": "aab"}) == ()
    assert len(check_config(schema, {"u": "a" * 1000})) == 1


@pytest.mark.parametrize(
    ("schema", "is_json"),
    [
        ({"url": {"type": "string"}}, False),
        ({"type": {"type": "string"}}, False),
        ({"properties": {"type": "object"}}, False),
        ({"type": "object"}, True),
        ({"properties": {"url": {"type": "string"}}}, True),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema"}, True),
        ({}, False),
    ],
    ids=range(7),
)
def test_what_a_schema_is_is_told_by_its_form(schema: Any, is_json: bool) -> None:
    assert is_json_schema(schema) is is_json
