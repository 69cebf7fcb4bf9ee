"""What OpenSSH's own client makes of a user's configuration, as `ssh -G` tells it.

Only what leads to a machine and proves who we are is taken over. What is meant for a person at a
terminal (RequestTTY, RemoteCommand, forwards, ControlMaster …) is left alone.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Jump", "Login", "resolve"]

_TIMEOUT_S = 15.0
"""`Match exec` runs commands, and canonical names are looked up."""

_BAD_LINE = re.compile(r"line (\d+): Bad Match condition")
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?"
    r"(?P<host>\[[^]]+\]|[^:/\[\]]+|[0-9A-Fa-f:]+)(?::(?P<port>\d+))?/?"
)
_TOKEN = re.compile(r"%(.)")
_VARIABLE = re.compile(r"\$\{(\w+)\}")

_KEYS = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")

_LISTS = {
    "ciphers": "encryption_algs",
    "hostkeyalgorithms": "server_host_key_algs",
    "kexalgorithms": "kex_algs",
    "macs": "mac_algs",
    "pubkeyacceptedalgorithms": "signature_algs",
}
"""Lists of algorithms, as `ssh -G` and asyncssh call them."""


class Jump(NamedTuple):
    """A machine on the way to another. An empty user and port 0 are as configured."""

    user: str
    host: str
    port: int


class Login(NamedTuple):
    """How a machine is reached and who logs in.

    Attributes:
        host: Its address, or the name that leads to it.
        port: Its port.
        user: The login.
        jumps: The machines to go through, the nearest first.
        proxy_command: A shell command whose streams are the connection; empty for none.
        identities: Private key files, which need not exist.
        certificates: Certificate files, which need not exist.
        identities_only: Whether only these keys may be offered, also by the agent.
        agent: The agent's socket; None for none.
        known_hosts: Files of known host keys, which need not exist.
        key_alias: The name under which the host's key is known, instead of its own.
        family: "any", "inet" or "inet6".
        bind: The local address to connect from; empty for any.
        compression: Whether to compress.
        authentication: The methods to try, in order; empty for all.
        environment: Variables to ask for, as `NAME=value`.
        send: Patterns of the names of variables to send along.
        algorithms: What was configured other than by default, by asyncssh's names.
    """

    host: str
    port: int
    user: str
    jumps: tuple[Jump, ...]
    proxy_command: str
    identities: tuple[str, ...]
    certificates: tuple[str, ...]
    identities_only: bool
    agent: str | None
    known_hosts: tuple[str, ...]
    key_alias: str
    family: str
    bind: str
    compression: bool
    authentication: str
    environment: tuple[str, ...]
    send: tuple[str, ...]
    algorithms: Mapping[str, tuple[str, ...]]


async def resolve(host: str, user: str | None, port: int | None, config: str | None) -> Login:
    """Ask OpenSSH how it would reach a machine.

    Args:
        host: The name of the machine, or its alias in the configuration.
        user: The login; as configured if None.
        port: As configured if None.
        config: The configuration to read instead of the user's and the system's; empty for none.

    Raises:
        UsageError: OpenSSH refuses the configuration, or its client is not installed.
    """
    program = shutil.which("ssh")
    if config == "" or (program is None and not _has_configuration(config)):
        return _unconfigured(host, user, port)
    if program is None:
        raise UsageError(
            f"the SSH settings of {host} cannot be used: the program ssh, which reads them, is not "
            "installed"
        )
    options = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    told = await _ask(program, _configuration(config), options, host)
    default = await _ask(program, os.devnull, [], host)
    return _login(host, told, default)


def _has_configuration(config: str | None) -> bool:
    path = os.path.expanduser(config or os.path.join("~", ".ssh", "config"))
    return os.path.exists(path)


def _unconfigured(host: str, user: str | None, port: int | None) -> Login:
    """Return how a machine is reached of which no configuration says anything."""
    return Login(
        host=host,
        port=port or 22,
        user=user or _user_of_record(),
        jumps=(),
        proxy_command="",
        identities=tuple(os.path.expanduser(f"~/.ssh/{name}") for name in _KEYS),
        certificates=(),
        identities_only=False,
        agent=os.environ.get("SSH_AUTH_SOCK") or None,
        known_hosts=(os.path.expanduser("~/.ssh/known_hosts"), "/etc/ssh/ssh_known_hosts"),
        key_alias="",
        family="any",
        bind="",
        compression=False,
        authentication="",
        environment=(),
        send=(),
        algorithms={},
    )


def _configuration(config: str | None) -> str:
    """Return the file to read; empty for those that OpenSSH would read by itself."""
    if config is not None:
        return os.path.expanduser(config) or os.devnull
    # OpenSSH goes by the password database, and everything else here by HOME.
    home = os.path.expanduser("~")
    own = os.path.join(home, ".ssh", "config")
    if home == _home_of_record():
        return ""
    return own if os.path.exists(own) else os.devnull


def _home_of_record() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


async def _ask(
    program: str, config: str, options: Sequence[str], host: str
) -> dict[str, list[str]]:
    """Return what `ssh -G` says: every option, with each of its values."""
    status, output, complaint = await _run(program, config, options, host)
    if status != 0 and (usable := _without_bad_lines(config, complaint)):
        # An older client does not know every condition; of such a section nothing is used.
        status, output, complaint = await _run(program, "/dev/stdin", options, host, usable)
    if status != 0:
        lines = complaint.decode("utf-8", "replace").splitlines()
        wrong = next((line for line in lines if "line" in line), lines[0] if lines else "")
        raise UsageError(f"the SSH settings of {host} cannot be used: {wrong or status}")
    told: dict[str, list[str]] = {}
    for line in output.decode("utf-8", "surrogateescape").splitlines():
        name, _, value = line.partition(" ")
        told.setdefault(name, []).append(value)
    return told


async def _run(
    program: str, config: str, options: Sequence[str], host: str, text: bytes = b""
) -> tuple[int, bytes, bytes]:
    pipe = asyncio.subprocess.PIPE
    file = ["-F", config] if config else []
    process = await asyncio.create_subprocess_exec(
        program, "-G", "-T", "-o", "IgnoreUnknown=*", "-o", "ForkAfterAuthentication=no",
        *file, *options, "--", host,
        stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, complaint = await process.communicate(text)
    except TimeoutError:
        raise UsageError(
            f"the SSH settings of {host} cannot be used: ssh -G took longer than {_TIMEOUT_S:g} s"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, output, complaint


def _without_bad_lines(config: str, complaint: bytes) -> bytes:
    """Return a configuration without the conditions that OpenSSH complains about; empty if none."""
    path = config or os.path.expanduser("~/.ssh/config")
    named = os.fsencode(path)
    bad = {
        int(found[1])
        for line in complaint.splitlines()
        if line.startswith(named) and (found := _BAD_LINE.search(os.fsdecode(line)))
    }
    if not bad:
        return b""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    # A section for no host.
    return b"\n".join(b"Host !*" if number in bad else line for number, line in enumerate(lines, 1))


def _login(host: str, told: dict[str, list[str]], default: dict[str, list[str]]) -> Login:
    def one(name: str) -> str:
        value = told.get(name, [""])[0]
        return "" if value.lower() == "none" else value

    values = {
        "h": one("hostname") or host,
        "n": host,
        "p": one("port") or "22",
        "r": one("user"),
        "u": _user_of_record(),
        "d": os.path.expanduser("~"),
        "i": str(os.getuid()),
        "k": one("hostkeyalias") or host,
        "l": os.uname().nodename,
        "L": os.uname().nodename.partition(".")[0],
        "j": one("proxyjump"),
        "%": "%",
    }

    def expanded(text: str) -> str:
        text = _TOKEN.sub(lambda token: values.get(token[1], token[0]), text)
        text = _VARIABLE.sub(lambda name: os.environ.get(name[1], name[0]), text)
        return os.path.expanduser(text)

    def files(name: str) -> tuple[str, ...]:
        return tuple(expanded(path) for path in told.get(name, []) if path.lower() != "none")

    known = _words(one("userknownhostsfile")) + _words(one("globalknownhostsfile"))
    if told.get("userknownhostsfile") == default.get("userknownhostsfile"):
        known = [_at_home(path) for path in known]
    return Login(
        host=values["h"],
        port=int(values["p"]),
        user=values["r"],
        jumps=_jumps(host, one("proxyjump")),
        proxy_command=_TOKEN.sub(lambda token: values.get(token[1], token[0]), one("proxycommand")),
        identities=files("identityfile"),
        certificates=files("certificatefile"),
        identities_only=one("identitiesonly") == "yes",
        agent=_agent(told.get("identityagent", ["SSH_AUTH_SOCK"])[0], expanded),
        known_hosts=tuple(expanded(path) for path in known),
        key_alias=one("hostkeyalias"),
        family=one("addressfamily") or "any",
        bind=one("bindaddress"),
        compression=one("compression") == "yes",
        authentication=one("preferredauthentications"),
        environment=tuple(told.get("setenv", [])),
        send=tuple(told.get("sendenv", [])),
        algorithms={
            ours: tuple(one(name).split(","))
            for name, ours in _LISTS.items()
            if told.get(name) != default.get(name) and one(name)
        },
    )


def _user_of_record() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _at_home(path: str) -> str:
    """Return a default path below the home of the password database as one below HOME."""
    below = _home_of_record() + "/"
    return "~/" + path.removeprefix(below) if path.startswith(below) else path


def _words(text: str) -> list[str]:
    """Split a list of paths, which may be quoted."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', text)]


def _agent(value: str, expanded: Callable[[str], str]) -> str | None:
    if value.lower() == "none":
        return None
    if value == "SSH_AUTH_SOCK":
        return os.environ.get(value) or None
    if value.startswith("$") and not value.startswith("${"):
        return os.environ.get(value[1:]) or None
    return expanded(value)


def _jumps(host: str, text: str) -> tuple[Jump, ...]:
    jumps = []
    for part in text.split(",") if text else []:
        found = _JUMP.fullmatch(part.strip())
        if found is None:
            raise UsageError(f"the SSH settings of {host} cannot be used: ProxyJump {text!r}")
        name = found["host"].strip("[]")
        jumps.append(Jump(found["user"] or "", name, int(found["port"] or 0)))
    return tuple(jumps)
