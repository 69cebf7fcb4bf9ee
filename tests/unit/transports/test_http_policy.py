"""When an HTTP request is repeated, after how long, and what is shown of it."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.transports._http_policy import (
    ASKED_MOST_S,
    LONGEST_S,
    Try,
    next_pause_s,
    reason_of,
    retry_after_s,
    shown_url,
)


def pause(tried: Try, left_s: float = 60.0, chance: float = 0.5) -> float | None:
    return next_pause_s(tried, left_s=left_s, now=1_000_000.0, chance=chance)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_request_that_asks_for_the_same_again_is_repeated_when_its_answer_was_lost(
    method: str,
) -> None:
    assert pause(Try(method, 1)) is not None


def test_a_request_that_may_have_been_carried_out_is_repeated_only_under_a_name_of_ours() -> None:
    assert pause(Try("POST", 1)) is None
    assert pause(Try("POST", 1, is_named=True)) is not None
    assert pause(Try("POST", 1, was_sent=False)) is not None


@pytest.mark.parametrize("status", [425, 429, 503])
def test_a_server_that_says_it_did_nothing_is_asked_again(status: int) -> None:
    assert pause(Try("POST", 1, status=status)) is not None


@pytest.mark.parametrize("status", [408, 502, 504])
def test_a_proxy_that_does_not_know_says_nothing_about_a_post(status: int) -> None:
    assert pause(Try("POST", 1, status=status)) is None
    assert pause(Try("GET", 1, status=status)) is not None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500, 501])
def test_what_is_refused_for_good_is_not_asked_for_again(status: int) -> None:
    assert pause(Try("GET", 1, is_named=True, status=status)) is None


def test_a_server_that_asks_for_a_wait_gets_it_or_nothing() -> None:
    assert pause(Try("GET", 1, status=503, retry_after="7"), left_s=10) == 7
    assert pause(Try("GET", 1, status=503, retry_after="7"), left_s=5) is None


@given(
    number=st.integers(1, 10_000),
    chance=st.floats(0, 1),
    left_s=st.floats(0, 100),
    header=st.text(max_size=30),
)
def test_a_pause_is_never_negative_nor_longer_than_what_is_left(
    number: int, chance: float, left_s: float, header: str
) -> None:
    waits = pause(Try("GET", number, status=503, retry_after=header), left_s, chance)

    assert waits is None or 0 <= waits <= left_s
    assert waits is None or retry_after_s(header, 1e6) is not None or waits <= LONGEST_S


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        (" 0 ", 0.0),
        ("999999", ASKED_MOST_S),
        (formatdate(1_000_020, usegmt=True), 20.0),
        (formatdate(999_000, usegmt=True), 0.0),
        ("-3", None),
        ("1e3", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", ASKED_MOST_S),
    ],
)
def test_a_wait_is_told_in_seconds_or_by_a_date(header: str, seconds: float | None) -> None:
    assert retry_after_s(header, 1_000_000.0) == seconds


def test_an_address_is_shown_without_what_logs_in() -> None:
    shown = shown_url("https://me:hunter2@api.example:8443/v2/jobs?token=hunter2&x=1#hunter2")

    assert shown == "https://api.example:8443/v2/jobs"


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("application/json", '{"message":"No such image: \\"x\\""}\n', 'No such image: "x"'),
        ("text/plain", "page not found\n", "page not found"),
        ("text/html", "<html><head><title>502 Bad\nGateway</title>", "502 Bad Gateway"),
        ("text/html", "<p>?", ""),
        ("", "", ""),
    ],
)
def test_an_answer_says_why_in_one_line(kind: str, body: str, told: str) -> None:
    assert reason_of(502, kind, body) == (f"{told} (HTTP 502)" if told else "HTTP 502")


def test_an_answer_shows_no_secret() -> None:
    assert "hunter2" not in reason_of(401, "", "no login as me with password=hunter2")
