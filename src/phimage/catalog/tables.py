"""The tables. Every versioned table has the same three ends: its key, `since` and `until`. `indexes` has their indexes."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    literal_column,
)

SCHEMA = "0011"
"""The schema version of these tables: the number of the last migration in `migrations/versions`."""
LIVE = 2**63 - 1
"""`until` of a row that is valid now."""
# docs/decisions.md#living-rows-are-matched-by-a-literal
LIVING: ColumnElement[int] = literal_column(str(LIVE), BigInteger)
"""LIVE as SQL text, for conditions: only then do both databases use the partial index of living rows. As a parameter it makes
SQLite plan the statement again at each execution."""


class Json(TypeDecorator[Any]):
    """A record inside a row, as canonical JSON text, equal on both databases."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Record to text."""
        return None if value is None else msgspec.json.encode(value, order="sorted").decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Text to plain values; `VersionedTable` decodes the record itself."""
        return None if value is None else msgspec.json.decode(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _versioned(name: str, keys: tuple[Column[Any], ...], *columns: Column[Any]) -> Table:
    """A versioned table: at most one row of a key is valid at any revision."""
    return Table(
        name,
        metadata,
        *keys,
        *columns,
        Column("since", BigInteger, primary_key=True, autoincrement=False),
        Column("until", BigInteger, nullable=False),
    )


def _key(name: str, kind: Any = Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _must(name: str, kind: Any = Text) -> Column[Any]:
    return Column(name, kind, nullable=False)


head = Table(
    "head",
    metadata,
    _key("one", Integer),
    _must("number", BigInteger),
    _must("time", BigInteger),
    Column("oldest", Text, nullable=False, server_default="0001"),
)
"""One row: the newest revision, its time, and the oldest schema whose programs may use the database (see `schema`).
Its row lock serializes writers."""

revision = Table(
    "revision",
    metadata,
    _key("number", BigInteger),
    _must("time", BigInteger),  # microseconds since 1970; never decreases
    _must("actor"),
    _must("address"),
    _must("request_id"),
    _must("action"),
)

change = Table(
    "change",
    metadata,
    _key("revision", BigInteger),
    _key("position", Integer),
    _must("noun"),
    _must("id"),
    _must("scope"),
    _must("verb"),
)

rate_use = Table("rate_use", metadata, _key("key"), _key("process"), _must("used", BigInteger), _must("time", BigInteger))
"""Requests that each server process has admitted, by key; see `accounts.exchange_rates`."""

nonce = Table("nonce", metadata, _key("key"), _key("nonce"), _must("time", BigInteger))
"""Nonces of signed changes of the last fifteen minutes; see `accounts.use_nonce`. Not versioned."""

key_use = Table("key_use", metadata, _key("key"), _must("day"))
"""The last day on which each key was used, such as 2026-02-28, in UTC; see `accounts.report_use`. Not versioned."""

login_code = Table("login_code", metadata, _key("digest"), _must("key"), _must("expires", BigInteger))
console_session = Table(
    "console_session", metadata, _key("digest"), _must("key"), _must("started", BigInteger), _must("used", BigInteger)
)
"""Single-use codes and the sessions of the console, by the SHA-256 of their secrets; see `console_sessions`. Not versioned."""

region = _versioned(
    "region", (_key("id"),), _must("number", Integer), _must("name_zh"), _must("name_en"), _must("default", Boolean)
)
zone = _versioned("zone", (_key("id"),), _must("region"), _must("name_zh"), _must("name_en"))
cluster = _versioned("cluster", (_key("id"),), _must("description"), _must("default", Boolean))
machine_type = _versioned(
    "machine_type",
    (_key("id"),),
    _must("name_zh"),
    _must("name_en"),
    _must("disk_class"),
    _must("cpu", Json),
    _must("memory", Integer),
    _must("disks", Json),
    Column("gpu", Json),
    _must("raid_supported", Boolean),
    _must("scenes", Json),
)
offer = _versioned("offer", (_key("machine_type"), _key("zone"), _key("cluster")), _must("stock", Integer))

account = _versioned(
    "account",
    (_key("id"),),
    _must("operator", Boolean),
    _must("company"),
    _must("email"),
    _must("zones", Json),
    _must("networks", Json),
    _must("created", BigInteger),
)
user = _versioned(
    "user",
    (_key("id", Integer),),
    _must("account"),
    _must("name"),
    _must("email"),
    _must("main", Boolean),
    _must("created", BigInteger),
)
key = _versioned(
    "key",
    (_key("id"),),
    _must("account"),
    _must("user", Integer),
    _must("encrypted", LargeBinary),
    _must("created", BigInteger),
    Column("expires", BigInteger, nullable=False, server_default="0"),
)
project = _versioned(
    "project", (_key("id"),), _must("account"), _must("name"), _must("default", Boolean), _must("created", BigInteger)
)
membership = _versioned("membership", (_key("project"), _key("user", Integer)), _must("account"), _must("role"))

image = _versioned(
    "image",
    (_key("id"),),
    _must("type"),
    _must("project"),
    _must("family"),
    _must("name"),
    _must("os_type"),
    _must("os_name"),
    _must("version"),
    _must("description"),
    _must("state"),
    _must("deprecated", Boolean),
    _must("size", Integer),
    _must("created", BigInteger),
    _must("zones", Json),
    # docs/decisions.md#an-image-is-one-row
    _must("support", Json),
    Column("deprecation_time", BigInteger, nullable=False, server_default="0"),
    Column("successor", Text, nullable=False, server_default=""),
    Column("labels", Json, nullable=False, server_default="{}"),
)

# docs/decisions.md#image-bytes-are-rows-of-their-own
image_bytes = _versioned(
    "image_bytes",
    (_key("image"),),
    _must("project"),
    _must("source"),
    _must("source_digest"),
    _must("digest_origin"),
    _must("format"),
    _must("overrides", Json),
    _must("target_state"),
    _must("manifest"),
    _must("sha256"),
    _must("size", BigInteger),
    _must("published", BigInteger),
    _must("failure"),
    _must("findings", Json),
    _must("facts", Json),
)
quota = _versioned("quota", (_key("project"),), _must("max_bytes", BigInteger))

job = Table(
    "job",
    metadata,
    _key("id"),
    _must("image"),
    _must("origin", Json),
    _must("state"),
    _must("phase"),
    _must("done", BigInteger),
    _must("total", BigInteger),
    _must("error"),
    _must("owner"),
    _must("fence", Integer),
    _must("lease_until", Float),
    _must("created", Float),
    Column("project", Text, nullable=False, server_default=""),
    Column("actor", Text, nullable=False, server_default=""),
    Column("token", Text, nullable=False, server_default=""),
    # docs/decisions.md#quota-reservations-live-in-the-job
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("not_before", Float, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("sent", BigInteger, nullable=False, server_default="0"),
    Column("reused", BigInteger, nullable=False, server_default="0"),
)
"""Work that takes longer than a request; see `jobs`. Not versioned: only its result is."""

host = _versioned(
    "host",
    (_key("id"),),
    _must("name"),
    _must("zone"),
    _must("machine_type"),
    _must("cluster"),
    _must("serial"),
    _must("macs", Json),
    _must("hint"),
    _must("created", BigInteger),
    _must("state"),
    _must("project"),
    _must("assigned", BigInteger),
    _must("tenant_name"),
    _must("remark"),
    _must("tag"),
    _must("image"),
    _must("manifest"),
    _must("deployed", BigInteger),
    _must("order"),
    _must("failure"),
    _must("suspended"),
    _must("key"),
    _must("token"),
    _must("disks", Json),
)

host_key = Table(
    "host_key",
    metadata,
    _key("id"),
    _must("host"),
    _must("is_token", Boolean),
    _must("encrypted", LargeBinary),
    _must("boot"),
    _must("created", BigInteger),
    _must("expires", BigInteger),
)
"""The enrol tokens of hosts and the keys of their agents; see `host_keys`. Not versioned: a revoked one is gone."""

# docs/decisions.md#heartbeats-are-no-revisions
host_contact = Table(
    "host_contact",
    metadata,
    _key("host"),
    _must("heard", Float),
    _must("address"),
    _must("version"),
    Column("disk", Json),
)
"""When and from where each agent was heard last, its version, and the disk that its hint names. Not versioned."""

host_order = Table(
    "host_order",
    metadata,
    _key("id"),
    _must("host"),
    _must("kind"),
    _must("created", Float),
    _must("heard", Float),
    _must("image"),
    _must("manifest"),
    _must("job"),
    _must("project"),
    _must("account"),
    _must("actor"),
    _must("trim", Boolean),
    _must("state"),
    _must("fence", Integer),
    _must("phase"),
    _must("done", BigInteger),
    _must("total", BigInteger),
    _must("sent", BigInteger),
    _must("reused", BigInteger),
    _must("error"),
    _must("receipt"),
    _must("ended", Float),
)
"""Orders to agents with their progress and receipts; see `orders`. Not versioned: the host's state is."""

hold = Table("hold", metadata, _key("id"), _must("revision", BigInteger), _must("expires", Float), _must("reason"))
"""Revisions whose manifests garbage collection keeps; see `backups`. Not versioned: a hold expires."""

backup = Table(
    "backup",
    metadata,
    _key("place"),
    _must("name"),
    _must("revision", BigInteger),
    _must("finished", Float),
    _must("verified", Float),
)
"""The newest backup in each place, for the metrics; see `backups`. The place itself is authoritative."""
