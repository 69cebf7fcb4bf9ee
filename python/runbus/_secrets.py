"""Secrets: which values are some, and what stands in their place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from runbus._files import read_file
from runbus._revealed import remember
from runbus.errors import FileUnreadable, SecretMissing, UsageError, os_reason

__all__ = ["REDACTED", "Secret", "is_secret_name", "redacted", "redacted_text", "redacted_value"]

REDACTED = "***"
"""What is written in the place of a secret."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# `re` compiles them on use, and keeps them: most scripts that log never need them.
_WORD = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+"
_SECRETS = _words(
    "apikey apitoken authtoken accesstoken credential credentials passphrase passwd password "
    "passwords secret secrets"
)
_LAST = _words("auth authorization bearer cookie cookies jwt pat")
_KEYS = _words(
    "access account api auth client deploy encryption master private secret service shared "
    "signing ssh storage"
)
# `pad_token`, `loss_per_token` and the like are what models are made of.
_HARMLESS_TOKENS = _words(
    "audio begin bos class cls end eos every first image last mask max min new next num pad "
    "per prompt sep special start stop text unk video"
)
_MENTIONS = _words("count dir env file files folder len length name path size type")
# In a web address what stands before the @ may be a token, without a colon; elsewhere it is a name.
_CREDENTIALS_IN_URL = (
    r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)|(?:(?<=http://)|(?<=https://))[^/\s:@]+(?=@)"
)
_URL_PARAMETER = r"([?&;#])([\w.%\[\]-]+)=([^&;#\s\"'<>]+)"
_SECRET_PARAMETERS = _words("sig signature key code")
"""Parameters of a web address that are secrets there, though such names are not elsewhere."""
_FLAG = r"(?<!\S)(--?)([A-Za-z][\w.-]*)(=|\s+)(\"[^\"]*\"|'[^']*'|[^\s-]\S*)"
# As in an environment, or in what a data base is asked to connect to.
_ASSIGNED = (
    r"(?<![\w?&#.-])([A-Za-z_][\w.-]*)([ \t]*=[ \t]*)(?!=)"
    r"(\"[^\"]*\"|'[^']*'|[^\s,;&\"'<>)\]}]+)"
)
# As in JSON; as the only thing in a line of YAML, for in prose a word and a colon mean nothing; and
# as in the head of a request.
_NAMED = (
    r"([\"'])([A-Za-z_][\w.-]*)\1(\s*:\s*)(\"(?:[^\"\\]|\\.)*\"|'[^']*')",
    r"(?m:^([ \t]*(?:-[ \t]+)?)([A-Za-z_][\w.-]*)(:[ \t]+)(\S+)[ \t]*$)",
    r"()(?<![\w-])([A-Za-z]+(?:-[A-Za-z]+)+)(:[ \t]*)([^\s\"',]+)",
)
_COOKIE = r"(?i:\b((?:set-)?cookie:[ \t]*)[^\s=\"']+=[^\"'\r\n]+)"
_PRIVATE_KEY = r"(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))"
_NO_SECRETS = _words("true false none null")
# `Authorization: Basic dXNlcg==`, and what has the form of a header's value by itself.
_HEADER = r"(?i:\b((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:[a-z]+\s+)?))[^\s\"',]+"
_BEARER = r"\b(Bearer\s+|bearer\s+(?=\S*\d))[\w.~+/=-]{6,}"
# Tokens that say whose they are: GitHub, GitLab, Hugging Face, OpenAI, Slack, AWS, PyPI, npm,
# Google, Docker, NVIDIA, Stripe, and JWTs.
_ISSUED = (
    r"\b(?=[Adeghnpsxy])"  # most letters begin none
    r"(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,}|"
    r"pypi-[\w-]{50,}|npm_\w{36}|AIza[\w-]{35}|ya29\.[\w-]{20,}|dckr_pat_[\w-]{20,}|"
    r"nvapi-[\w-]{20,}|sk_live_\w{16,}|sk-[\w-]{16,}|xox[a-z]-[\w-]{10,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+)"
)


_SHORTEST_ISSUED = 15
_LONGEST_KNOWN = 128
"""The names in a program are few and short: each of them is judged once."""


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret: `password`, `hf_token`, `openai.apiKey`.

    The name of a file or variable that holds one is not (`password_file`), nor is what models call
    a token (`pad_token`, `max_tokens`).
    """
    return _known(name) if len(name) <= _LONGEST_KNOWN else _judged(name)


def _judged(name: str) -> bool:
    words = [word.lower() for word in re.findall(_WORD, name)]
    if not words or words[-1] in _MENTIONS:
        return False
    if words[-1] in _LAST or not _SECRETS.isdisjoint(words):
        return True
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "token":
        return before not in _HARMLESS_TOKENS
    if words[-1] in ("tokens", "pwd"):
        return before in _KEYS if words[-1] == "tokens" else bool(before)
    return any(second in ("key", "keys") and first in _KEYS for first, second in pairwise(words))


_known = lru_cache(maxsize=4096)(_judged)


def redacted(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a mapping with its secrets replaced, at any depth; the mapping stays as it is.

    A secret is what a secret's name stands for, apart from true, false and None; and what
    `redacted_text` finds in a text.

    Raises:
        ValueError: It holds itself.
    """
    try:
        return _redacted_mapping(values, _unchanged)
    except RecursionError:
        raise ValueError("a mapping that holds itself cannot be kept") from None


def redacted_value(value: Any, other: Callable[[Any], Any]) -> Any:
    """Return a value with the secrets in its texts, mappings and sequences replaced.

    Args:
        value: The value; it stays as it is.
        other: Redacts everything else.
    """
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, Mapping):
        return _redacted_mapping(value, other)
    if isinstance(value, list | tuple):
        return _redacted_sequence(value, other)
    return other(value)


def redacted_text(text: str) -> str:
    """Return a text without its secrets.

    That is user and password, or a token, in a URL; its parameters such as `sig` or `api_key`; the
    credentials after `Authorization:`, `Bearer` or `X-Api-Key:`; the value of a flag such as
    `--hub_token`; what is assigned as in `password=…`, in JSON or in a line of YAML; cookies,
    private keys, and the tokens of well-known services.
    """
    # Most texts are a word or a path, and this is asked of each: all but the last need a gap.
    if ":" not in text and "=" not in text and text.split(None, 1) in ([], [text]):
        return text if len(text) < _SHORTEST_ISSUED else re.sub(_ISSUED, REDACTED, text)
    if "://" in text:
        text = re.sub(_CREDENTIALS_IN_URL, REDACTED, text)
        text = re.sub(_URL_PARAMETER, _without_parameter, text)
    if "-" in text:
        text = re.sub(_FLAG, _without_flag, text)
    if "=" in text:
        text = re.sub(_ASSIGNED, _without_assigned, text)
    if ":" in text:
        for pattern in _NAMED:
            text = re.sub(pattern, _without_named, text)
    if "PRIVATE KEY" in text:
        text = re.sub(_PRIVATE_KEY, REDACTED, text)
    if re.search("(?i:cookie:)", text):
        text = re.sub(_COOKIE, rf"\1{REDACTED}", text)
    if re.search("(?i:authorization|bearer)", text):
        text = re.sub(_HEADER, rf"\1{REDACTED}", text)
        text = re.sub(_BEARER, rf"\1{REDACTED}", text)
    return re.sub(_ISSUED, REDACTED, text)


def _without_parameter(found: re.Match[str]) -> str:
    mark, name, _ = found.groups()
    low = name.lower()
    is_secret = is_secret_name(name) or low in _SECRET_PARAMETERS or low.endswith("signature")
    return f"{mark}{name}={REDACTED}" if is_secret else found[0]


def _without_flag(found: re.Match[str]) -> str:
    dashes, name, gap, _ = found.groups()
    return f"{dashes}{name}{gap}{REDACTED}" if is_secret_name(name) else found[0]


def _without_assigned(found: re.Match[str]) -> str:
    name, sign, value = found.groups()
    is_secret = is_secret_name(name) and value.lower() not in _NO_SECRETS
    return f"{name}{sign}{REDACTED}" if is_secret else found[0]


def _without_named(found: re.Match[str]) -> str:
    before, name, sign, value = found.groups()
    if not is_secret_name(name) or value.lower() in _NO_SECRETS:
        return found[0]
    end = before if before and before in "\"'" else ""
    mark = value[0] if value[0] in "\"'" else ""
    return f"{before}{name}{end}{sign}{mark}{REDACTED}{mark}"


def _redacted_mapping(values: Mapping[Any, Any], other: Callable[[Any], Any]) -> dict[Any, Any]:
    return {
        key: REDACTED
        if isinstance(key, str) and is_secret_name(key) and not isinstance(value, bool | None)
        else redacted_value(value, other)
        for key, value in values.items()
    }


def _redacted_sequence(values: Sequence[Any], other: Callable[[Any], Any]) -> Sequence[Any]:
    """Return the values, without what follows the name of a secret: in a pair, or as a flag's."""
    parts = [redacted_value(value, other) for value in values]
    for at, name in enumerate(values[:-1]):
        is_name = isinstance(name, str) and (
            len(values) == 2 or (name.startswith("-") and "=" not in name)
        )
        if is_name and is_secret_name(name) and isinstance(values[at + 1], str):
            parts[at + 1] = REDACTED
    return tuple(parts) if isinstance(values, tuple) else parts


def _unchanged(value: Any) -> Any:
    return value


_VARIABLE = r"[A-Za-z_]\w*"
_LARGEST = 1 << 20


class Secret:
    """Says where a secret is, and stands for it wherever something is written down.

    Its value is read by the process that submits a job, at that moment, and goes to that job
    alone: no file, record, event, text or pickle of runbus holds it.

    Args:
        reference: `env:NAME` for a variable of that process's environment, or `NAME` for
            short; `file:PATH` for a file, of which one line end at its end does not count.

    Attributes:
        reference: The same, in its long form.

    Raises:
        UsageError: It is neither.
    """

    __slots__ = ("reference",)

    def __init__(self, reference: str) -> None:
        if re.fullmatch(_VARIABLE, reference, re.ASCII):
            reference = f"env:{reference}"
        kind, _, place = reference.partition(":")
        if not (kind == "env" and re.fullmatch(_VARIABLE, place, re.ASCII)) and not (
            kind == "file" and place
        ):
            # It may be the secret itself, by mistake: it is not repeated.
            raise UsageError("a secret is env:NAME or file:PATH")
        self.reference = reference

    def value(self) -> str:
        """Return the secret itself; what is told of plugins does not repeat it. Blocks for a file.

        Raises:
            SecretMissing: It is not there, or cannot be the value of a variable.
        """
        kind, _, place = self.reference.partition(":")
        if kind == "env":
            if (found := os.environ.get(place)) is None:
                raise SecretMissing(self.reference, "the variable is not set")
            return remember(found)
        try:
            # Systems that mount secrets do so by links.
            data = read_file(os.path.realpath(os.path.expanduser(place)), limit=_LARGEST)
        except FileUnreadable as error:
            raise SecretMissing(self.reference, error.reason) from error
        except OSError as error:
            raise SecretMissing(self.reference, os_reason(error)) from error
        if b"\0" in data:
            raise SecretMissing(self.reference, "there is a NUL in it")
        return remember(os.fsdecode(data.removesuffix(b"\n").removesuffix(b"\r")))

    def relative_to(self, folder: str) -> Secret:
        """Return the same with the path of a file as seen from `folder`."""
        kind, _, place = self.reference.partition(":")
        if kind == "env" or place.startswith("~"):
            return self
        return Secret(f"file:{os.path.join(folder, place)}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"
