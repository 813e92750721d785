"""The settings of an installation, from a TOML file, `PHIMAGE_*` variables and flags. Later sources override earlier ones."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from phimage.errors import SetupError
from phimage.fields import fields_of

RENAMED = {
    "data": "data_dir",
    "downloads": "max_downloads",
    "lame_duck_seconds": "shutdown_delay_seconds",
    "most_disk_gb": "max_disk_gb",
    "most_limit": "max_limit",
    "most_original_gb": "max_original_gb",
    "packs_mb": "zstd_cache_mb",
    "reserve_mb": "min_free_mb",
    "work": "work_dir",
}
"""Former names of settings. Using one is an error, because a limit must not be ignored silently."""

_FIXED = ("host", "port", "data_dir", "database", "master_key", "store")
"""Settings that a reload keeps: the socket is open, and the installation was prepared at the start."""

_OPTIONS = ("CONFIG", "PROFILE", "PROFILES", "ENDPOINT", "PUBLIC_KEY", "PRIVATE_KEY", "REGION", "ZONE", "PROJECT", "COPY_TO")
"""Variables of commands."""
_PUBLIC_URL = re.compile(r"https?://[^/:?#@\s][^/?#@\s]*(/[^?#\s]*)?")


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The settings. Each is a key of the TOML file and, in capitals after PHIMAGE_, an environment variable."""

    data_dir: Annotated[str, Meta(description="folder of the master key and, by default, of the database")] = "phimage-data"
    database: Annotated[
        str, Meta(description="postgresql://user@host/name; empty means SQLite in the data folder, which needs nothing")
    ] = ""
    master_key: Annotated[
        str,
        Meta(description="file of the key that encrypts private keys, mode 0600; empty means master.key in the data folder"),
    ] = ""
    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 takes any free one")] = 8080
    workers: Annotated[int, Meta(ge=1, le=256, description="server processes")] = 1
    tls_certificate: Annotated[
        str,
        Meta(description="PEM file of the certificate and of those that signed it, for HTTPS; empty means HTTP"),
    ] = ""
    tls_key: Annotated[
        str, Meta(description="PEM file of the certificate's private key; empty means that it is in tls_certificate")
    ] = ""
    tls_minimum: Annotated[Literal["1.2", "1.3"], Meta(description="oldest version of TLS that clients may use")] = "1.2"
    max_connections: Annotated[
        int,
        Meta(ge=16, le=1_000_000, description="open connections of one server process; above it the oldest idle one is closed"),
    ] = 8192
    max_connections_per_address: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="open connections of one address in one server process, except loopback and trusted proxies; 0 means "
            "no limit",
        ),
    ] = 256
    header_seconds: Annotated[
        float,
        Meta(ge=0.1, le=3600, description="seconds for the header of a request, and for a TLS handshake"),
    ] = 10.0
    idle_seconds: Annotated[
        float, Meta(ge=0.1, le=3600, description="seconds after which a connection without a request is closed")
    ] = 75.0
    body_seconds: Annotated[
        float, Meta(ge=0.1, le=3600, description="seconds that the body of an Action may pause; it may take 30 times as long")
    ] = 10.0
    max_bodies_mb: Annotated[
        int,
        Meta(ge=1, le=65_536, description="MB of Actions' bodies in one server process; above it they are refused with 150"),
    ] = 64
    max_worker_deaths: Annotated[
        int, Meta(ge=1, description="server processes that may die within a minute before the server ends")
    ] = 2
    require_zone: Annotated[
        bool, Meta(description="whether DescribePHostImage must name its Zone; false lists all zones of the region")
    ] = True
    default_limit: Annotated[int, Meta(ge=0, le=100_000, description="Limit of a list that names none")] = 20
    max_limit: Annotated[int, Meta(ge=1, le=100_000, description="largest Limit; above it a list is refused")] = 1000
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="networks of proxies whose X-Forwarded-For names the caller, and whose X-Forwarded-Proto, -Host and "
            "-Port name the address that was called; commas between them in the variable"
        ),
    ] = ()

    store: Annotated[
        str,
        Meta(
            description="where image bytes are kept: a folder, or s3://bucket/prefix?endpoint=http://host:port with keys in "
            "AWS_* variables; empty means the folder store in the data folder"
        ),
    ] = ""
    work_dir: Annotated[
        str, Meta(description="folder for images while they are published; empty means the folder work in the data folder")
    ] = ""
    publishers: Annotated[
        int, Meta(ge=0, le=64, description="publisher processes beside the server; 0 when they run elsewhere")
    ] = 1
    public_url: Annotated[
        str, Meta(description="address in download and upload URLs; empty means the one that the caller used")
    ] = ""
    require_sandbox: Annotated[
        bool,
        Meta(
            description="whether a publisher refuses to work where its sandbox cannot keep qemu-img from other files and the "
            "network"
        ),
    ] = True
    max_disk_gb: Annotated[int, Meta(ge=1, le=65_536, description="largest disk that is published, in GB")] = 2048
    max_original_gb: Annotated[int, Meta(ge=1, le=65_536, description="largest original file that is published, in GB")] = 256
    min_free_mb: Annotated[
        int, Meta(ge=0, le=1 << 30, description="MB that publishing leaves free in the work folder and in a store on a disk")
    ] = 1024
    fetch_networks: Annotated[
        tuple[str, ...],
        Meta(description="networks beside the public internet that operators' images may be fetched from, such as 10.1.0.0/16"),
    ] = ()
    fetch_ports: Annotated[
        tuple[int, ...], Meta(description="ports that operators' images may be fetched from; empty means any")
    ] = (80, 443)
    max_downloads: Annotated[
        int,
        Meta(
            ge=1,
            le=4096,
            description="downloads that one server process sends at once; one account may have three quarters of them, one "
            "project half, one URL a quarter",
        ),
    ] = 64
    min_transfer_kib: Annotated[
        int,
        Meta(
            ge=0,
            le=1024,
            description="KiB a second that a client must read of a download or send of an upload; a client that is a minute "
            "behind is disconnected and can resume; 0 for no minimum",
        ),
    ] = 8
    zstd_cache_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 30,
            description="MB for compressed disks, each in one file that is sent without decoding; 0 caches none",
        ),
    ] = 10_240
    lease_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="seconds without a renewal after which another publisher claims a job")
    ] = 30.0

    rate: Annotated[float, Meta(ge=0, description="requests a second that a key may send; 0 means no limit")] = 0.0
    burst: Annotated[int, Meta(ge=1, description="requests that a key may send at once, before its rate counts")] = 100
    metrics_networks: Annotated[
        tuple[str, ...],
        Meta(description="networks that may read /metrics; commas between them in the variable"),
    ] = ("127.0.0.0/8", "::1/128")
    allow_legacy_operator_signatures: Annotated[
        bool,
        Meta(
            description="whether the Actions of operators accept signatures of version 1, which can be rearranged into those "
            "of another request"
        ),
    ] = False
    log_requests: Annotated[bool, Meta(description="whether each request is a line of the log; never with its parameters")] = (
        False
    )
    shutdown_delay_seconds: Annotated[
        float,
        Meta(ge=0, le=600, description="seconds for which a stopping server still answers, while /readyz answers 503"),
    ] = 0.0
    explain_signatures: Annotated[
        bool, Meta(description="whether the answer to a wrong signature names the likely mistake; for development")
    ] = False
    explain_signatures_to_anyone: Annotated[
        bool, Meta(description="allows explain_signatures when listening beyond loopback")
    ] = False

    @property
    def data_folder(self) -> Path:
        """The data folder."""
        return Path(self.data_dir).expanduser()

    @property
    def local_url(self) -> str:
        """The address of the server for a command on the same machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  recognized, not listened on
        shown = f"[{host}]" if ":" in host else host
        return self.public_url or f"{'https' if self.tls_certificate else 'http'}://{shown}:{self.port}"

    @property
    def store_place(self) -> str:
        """The address of the store, for `open_store`."""
        return self.store or str(self.data_folder / "store")

    @property
    def work_folder(self) -> Path:
        """The work folder of publishers."""
        return Path(self.work_dir).expanduser() if self.work_dir else self.data_folder / "work"

    @property
    def zstd_cache_folder(self) -> Path:
        """The folder of the zstd cache, which is always local."""
        return self.data_folder / "packs"

    @property
    def restore_marker(self) -> Path:
        """A file that exists while a backup is restored into the data folder: no server starts meanwhile."""
        return self.data_folder / "restoring.json"

    @property
    def master_key_file(self) -> Path:
        """The master key file."""
        return Path(self.master_key).expanduser() if self.master_key else self.data_folder / "master.key"


def read_settings(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The settings. Raises SetupError with the file or variable and the expected value. Flags that are None do not count."""
    values: dict[str, Any] = {}
    if file is not None:
        values.update(_from_file(file))
    for old, new in RENAMED.items():
        if f"PHIMAGE_{old.upper()}" in environment:
            raise SetupError(f"PHIMAGE_{old.upper()} was renamed: use PHIMAGE_{new.upper()}")
    for field in msgspec.structs.fields(Settings):
        name = f"PHIMAGE_{field.name.upper()}"
        if name in environment:
            text = environment[name]
            many = isinstance(field.default, tuple)
            value: Any = tuple(part.strip() for part in text.split(",") if part.strip()) if many else text
            values[field.name] = _checked(field.name, value, name)
    values.update({name: value for name, value in flags.items() if value is not None})
    settings = msgspec.convert(values, Settings)
    for name in ("trusted_proxies", "metrics_networks"):
        for network in getattr(settings, name):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise SetupError(f"{name}: {error}; expected networks such as 10.0.0.0/8 or 2001:db8::/32") from None
    if settings.public_url and not _PUBLIC_URL.fullmatch(settings.public_url):
        raise SetupError(f"public_url: {settings.public_url!r} is not an address; expected http://host:port or https://host")
    if settings.explain_signatures and not (settings.explain_signatures_to_anyone or _is_loopback(settings.host)):
        raise SetupError(
            f"explain_signatures helps attackers to guess signatures, and other machines can reach {settings.host}: "
            "listen on 127.0.0.1, or allow it with --explain-signatures-to-anyone"
        )
    return settings


def unknown_variables(environment: Mapping[str, str], *, mistyped: bool = False) -> list[str]:
    """Sentences about PHIMAGE_* variables that are neither settings nor options of commands, each with what may be meant.

    `mistyped`: only about those that are nearly one.
    """
    names = {f"PHIMAGE_{name.upper()}" for name in Settings.__struct_fields__}
    known = names | {f"PHIMAGE_{name}" for name in _OPTIONS}
    found = []
    for variable in sorted(environment):
        if variable.startswith("PHIMAGE_") and variable not in known:
            near = get_close_matches(variable, known, n=1, cutoff=0.8)
            if mistyped and not near:
                continue
            found.append(f"{variable} is no setting and was ignored" + (f"; {near[0]} is one" if near else ""))
    return found


def as_variables(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a child process with the same settings."""
    variables = {}
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        text = (
            ",".join(map(str, value))
            if isinstance(value, tuple)
            else str(value).lower()
            if isinstance(value, bool)
            else str(value)
        )
        variables[f"PHIMAGE_{name.upper()}"] = text
    return variables


def with_fixed(running: Settings, reread: Settings) -> tuple[Settings, list[str]]:
    """The settings after a reload, and the names of those that changed although only a restart can change them."""
    changed = [name for name in _FIXED if getattr(running, name) != getattr(reread, name)]
    return msgspec.structs.replace(reread, **{name: getattr(running, name) for name in _FIXED}), changed


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _from_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}; check the path in --config or PHIMAGE_CONFIG") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{file} is not TOML: {error}") from None
    known = {field.name for field in msgspec.structs.fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown and unknown[0] in RENAMED:
        raise SetupError(f"{file}: the setting {unknown[0]} was renamed: use {RENAMED[unknown[0]]}")
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(sorted(known))}"
        raise SetupError(f"{file}: unknown setting {unknown[0]!r}; {remedy}")
    return {name: _checked(name, value, f"{file}: {name}") for name, value in values.items()}


def _checked(name: str, value: Any, where: str) -> Any:
    try:
        return getattr(msgspec.convert({name: value}, Settings, strict=False), name)
    except msgspec.ValidationError:
        kind = next(field.type for field in fields_of(Settings) if field.attribute == name)
        expected = f"a list, each {kind.innermost.expected}" if kind.shape == "list" else kind.expected
        raise SetupError(f"{where}: {value!r} cannot be used; expected {expected}") from None
