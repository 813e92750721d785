"""The endpoint and key of commands: from flags, then `PHIMAGE_*` variables, then a profile of the config file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import tomli_w

from phimage.cli.output import note
from phimage.client import Client
from phimage.errors import SetupError
from phimage.files import replace_file
from phimage.model.account import PrivateKey

Command = TypeVar("Command", bound=Callable[..., Any])

_ELSEWHERE = "set XDG_CONFIG_HOME to a folder that you can write"


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An endpoint, a key for it, and default parameters."""

    endpoint: str = "http://127.0.0.1:8080"
    public_key: str = ""
    private_key: str = ""
    region: str = ""
    zone: str = ""
    project: str = ""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The config file: profiles by name, and the name of the default one."""

    default: str = "default"
    profile: dict[str, Profile] = msgspec.field(default_factory=dict)


def config_file() -> Path:
    """PHIMAGE_PROFILES, by default `phimage/config.toml` under XDG_CONFIG_HOME or `~/.config`."""
    if chosen := os.environ.get("PHIMAGE_PROFILES"):
        return Path(chosen)
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111  Path raises without a home
    return Path(home) / "phimage" / "config.toml"


def read_config(path: Path | None = None) -> Config:
    """Read the config file, or another one; a missing file is an empty one. Raises SetupError when it cannot be read."""
    path = path or config_file()
    try:
        config = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Config)
        if path.stat().st_mode & 0o077:
            note(f"{path} can be read by others, and has private keys; run: chmod 600 {path}")
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}; correct its owner and mode, or {_ELSEWHERE}") from None
    except UnicodeDecodeError as error:
        raise SetupError(f"{path} is not UTF-8: byte {error.start}; correct it, or remove it and add its profiles") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SetupError(f"{path}: {error}; correct it, or remove it and add its profiles") from None
    return config


def write_config(config: Config, path: Path | None = None) -> None:
    """Replace the config file, or another one, atomically, with mode 0600. Raises SetupError when it cannot be written."""
    path = path or config_file()
    if str(path).startswith("~"):
        raise SetupError(f"{path} would be a folder named ~, because there is no home folder; {_ELSEWHERE}")
    try:
        _write(path, config)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}; {_ELSEWHERE}") from None


def _write(path: Path, config: Config) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, tomli_w.dumps(msgspec.to_builtins(config)).encode())


_OPTIONS = (
    click.option("--profile", "profile_name", envvar="PHIMAGE_PROFILE", metavar="NAME", help="Profile in the config file."),
    click.option("--endpoint", envvar="PHIMAGE_ENDPOINT", metavar="URL", help="Address of the server."),
    click.option("--public-key", envvar="PHIMAGE_PUBLIC_KEY", metavar="KEY", help="Public key to sign with."),
    click.option(
        "--private-key",
        envvar="PHIMAGE_PRIVATE_KEY",
        metavar="KEY",
        help="Private key to sign with; the variable is safer, because other users can see a command line.",
    ),
)


_VARIABLES = frozenset(
    f"PHIMAGE_{name}" for name in ("PROFILES", "PROFILE", "ENDPOINT", "PUBLIC_KEY", "PRIVATE_KEY", "REGION", "ZONE", "PROJECT")
)
"""Variables of commands that call a server."""


class Session(msgspec.Struct, frozen=True):
    """The profile after flags and variables, and a client for it."""

    profile: Profile
    client: Client

    def given(self, name: str, value: str | None) -> str | None:
        """The value of an option, otherwise the profile's; None without either."""
        return value or getattr(self.profile, name) or None


Connect = Callable[[], AbstractContextManager[Session]]


def connecting(command: Command) -> Command:
    """A decorator that adds the connection options and passes `connect`, which opens a session, to the command.

    `connect` raises UsageError when there is no key to sign with; a command that does not call it needs none.
    """

    @wraps(command)
    def run(
        *args: Any,
        profile_name: str | None,
        endpoint: str | None,
        public_key: str | None,
        private_key: str | None,
        **kwargs: Any,
    ) -> Any:
        @contextmanager
        def connect() -> Iterator[Session]:
            _warn_of_variables()
            profile = _profile(profile_name)
            flags = {"endpoint": endpoint, "public_key": public_key, "private_key": private_key}
            profile = msgspec.structs.replace(profile, **{name: value for name, value in flags.items() if value})
            if not (profile.public_key and profile.private_key):
                raise click.UsageError(
                    "no key to sign with: run `phimage config add`, or set PHIMAGE_PUBLIC_KEY and PHIMAGE_PRIVATE_KEY"
                )
            with Client(profile.endpoint, profile.public_key, PrivateKey(profile.private_key)) as client:
                yield Session(profile, client)

        return command(*args, connect=connect, **kwargs)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run  # type: ignore[return-value]  # click calls it with the added options


def signed(command: Command) -> Command:
    """A decorator that adds the connection options and passes an open `session` to the command."""

    @wraps(command)
    def run(*args: Any, connect: Connect, **kwargs: Any) -> Any:
        with connect() as session:
            return command(*args, session=session, **kwargs)

    return connecting(run)  # type: ignore[return-value]  # click calls it with the added options


def _warn_of_variables() -> None:
    """Name mistyped variables: without PHIMAGE_ZONE a command uses the zone of the profile."""
    if any(name.startswith("PHIMAGE_") and name not in _VARIABLES for name in os.environ):
        from phimage.settings import unknown_variables  # seldom needed

        for sentence in unknown_variables(os.environ, mistyped=True):
            note(sentence)


def _profile(name: str | None) -> Profile:
    config = read_config()
    if name is not None and name not in config.profile:
        raise SetupError(unknown_profile(name, config.profile))
    return config.profile.get(name or config.default, Profile())


def unknown_profile(name: str, known: Iterable[str]) -> str:
    """The message about a profile that the config file does not have."""
    names = ", ".join(known)
    remedy = f"it has {names}" if names else "it has none; add one with `phimage config add`"
    return f"{config_file()} has no profile {name!r}; {remedy}"
