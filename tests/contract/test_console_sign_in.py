"""Signing in to the console: by a code and by a proof of a key, and what ends a session."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from phimage.catalog import console_sessions
from phimage.catalog.accounts import ACCOUNTS, KEYS, NewKey, add_account, add_key, find_key
from phimage.catalog.console_sessions import IDLE_SECONDS, USE_SECONDS
from phimage.catalog.views import Catalog
from phimage.console.browser_origin import BrowserOrigin
from phimage.console.catalog_sessions import NONCE_SECONDS, CatalogSessions
from phimage.console.nonces import KeyProof, prove
from phimage.console.session import ConsoleSession
from phimage.errors import AddressRefused, RateLimited, ServiceUnavailable, UnknownUser, WrongSignature
from phimage.gateway.rate import RateLimit
from phimage.installation import command_author
from phimage.model.account import Account, PrivateKey
from phimage.model.ids import AccountId, PublicKey
from tests.conftest import Reopen

NOW = 1_000_000.0
ADDRESS = "192.0.2.7"
ACME = AccountId("acme")
ORIGIN = BrowserOrigin("https://images.example", secure=True)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def key(catalog: Catalog) -> NewKey:
    """A key of an account that may be used from one network."""
    with catalog.change(command_author("Test")) as change:
        account = Account(ACME, False, "", "a@example.com", (), ("192.0.2.0/24",), 1)
        user, _ = add_account(change, account, secrets.token_bytes)
        return add_key(change, user, catalog.key_encryption, secrets.token_bytes)


@pytest.fixture
def sessions(catalog: Catalog, clock: Clock) -> CatalogSessions:
    return CatalogSessions(catalog, now=clock, signed_now=clock)


def code_of(catalog: Catalog, key: PublicKey) -> str:
    with catalog.database.write() as connection:
        console_sessions.add_code(connection, "code", key, NOW)
    return "code"


def proof_of(sessions: CatalogSessions, key: NewKey, private: str = "") -> KeyProof:
    """What the form sends for a key, or for another private key."""
    nonce = sessions.nonce()
    return KeyProof(key.public, nonce, prove(PrivateKey(private) if private else key.private, key.public, nonce))


def find(sessions: CatalogSessions, *secrets: str) -> list[ConsoleSession | None]:
    """The sessions of requests with these secrets in their cookies, one request after the other."""

    async def main() -> list[ConsoleSession | None]:
        return [await sessions.find({ORIGIN.cookie: secret}, ORIGIN) for secret in secrets]

    return asyncio.run(main())


def revoke(catalog: Catalog, key: PublicKey) -> None:
    with catalog.change(command_author("Test")) as change:
        found = find_key(change.connection, key)
        assert found is not None
        KEYS.withdraw(change, found)


@contextmanager
def away(catalog: Catalog) -> Iterator[None]:
    """The database does not answer inside the block."""
    catalog.database.circuit.open("away")
    try:
        yield
    finally:
        catalog.database.circuit.close()


def test_a_code_begins_a_session_of_its_key_on_all_servers_and_only_once(
    catalog: Catalog, key: NewKey, sessions: CatalogSessions, clock: Clock, reopen: Reopen
) -> None:
    code = code_of(catalog, key.public)
    begun = sessions.begin_by_code(code, ADDRESS)
    assert begun.caller.key == key.public
    assert sessions.key_of(begun.secret) == key.public
    assert CatalogSessions(reopen(catalog), now=clock, signed_now=clock).key_of(begun.secret) == key.public
    with pytest.raises(WrongSignature, match="used before"):
        sessions.begin_by_code(code, ADDRESS)


def test_a_proof_begins_a_session_and_its_nonce_works_once(
    catalog: Catalog, key: NewKey, sessions: CatalogSessions, clock: Clock, reopen: Reopen
) -> None:
    proof = proof_of(sessions, key)
    other_server = CatalogSessions(reopen(catalog), now=clock, signed_now=clock)
    assert other_server.key_of(other_server.begin_by_proof(proof, ADDRESS).secret) == key.public
    with pytest.raises(WrongSignature, match="used before"):
        sessions.begin_by_proof(proof, ADDRESS)


def test_a_wrong_proof_an_old_nonce_and_an_unknown_key_are_refused_and_leave_no_trace(
    catalog: Catalog, key: NewKey, sessions: CatalogSessions, clock: Clock
) -> None:
    wrong, late = proof_of(sessions, key, "another private key"), proof_of(sessions, key)
    with pytest.raises(WrongSignature):
        sessions.begin_by_proof(wrong, ADDRESS)
    with pytest.raises(UnknownUser):
        sessions.begin_by_proof(replace(wrong, public_key=PublicKey("nobody")), ADDRESS)
    clock.now += NONCE_SECONDS + 1
    with pytest.raises(WrongSignature, match="60 seconds"):
        sessions.begin_by_proof(late, ADDRESS)
    with catalog.database.read() as connection:
        for table in ("nonce", "console_session"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0


def test_a_key_signs_in_from_its_networks_alone(catalog: Catalog, key: NewKey, sessions: CatalogSessions) -> None:
    code = code_of(catalog, key.public)
    with pytest.raises(AddressRefused):
        sessions.begin_by_code(code, "198.51.100.7")
    with pytest.raises(AddressRefused):
        sessions.begin_by_proof(proof_of(sessions, key), "198.51.100.7")


def test_sign_ins_count_against_the_rate_of_the_key(catalog: Catalog, key: NewKey, clock: Clock) -> None:
    sessions = CatalogSessions(catalog, RateLimit(1, 2), now=clock, signed_now=clock, monotonic=clock)
    for _ in range(2):
        sessions.begin_by_proof(proof_of(sessions, key), ADDRESS)
    with pytest.raises(RateLimited):
        sessions.begin_by_proof(proof_of(sessions, key), ADDRESS)


def test_a_code_of_a_key_that_was_revoked_is_worth_nothing(catalog: Catalog, key: NewKey, sessions: CatalogSessions) -> None:
    code = code_of(catalog, key.public)
    revoke(catalog, key.public)
    catalog.refresh()
    with pytest.raises(UnknownUser, match="revoked"):
        sessions.begin_by_code(code, ADDRESS)


def test_a_session_that_is_used_goes_on_beyond_an_hour_and_writes_once_a_minute(
    key: NewKey, sessions: CatalogSessions, catalog: Catalog, clock: Clock
) -> None:
    secret = sessions.begin_by_proof(proof_of(sessions, key), ADDRESS).secret
    before = catalog.database.calls["write"].count
    for _ in range(USE_SECONDS):
        clock.now += 1
        assert sessions.key_of(secret) == key.public
    assert catalog.database.calls["write"].count == before + 1
    clock.now += IDLE_SECONDS - 1
    assert sessions.key_of(secret) == key.public
    clock.now += IDLE_SECONDS
    assert sessions.key_of(secret) is None


def test_signing_out_ends_the_session_on_every_server(
    catalog: Catalog, key: NewKey, sessions: CatalogSessions, clock: Clock, reopen: Reopen
) -> None:
    secret = sessions.begin_by_proof(proof_of(sessions, key), ADDRESS).secret
    other_server = CatalogSessions(reopen(catalog), now=clock, signed_now=clock)
    assert other_server.key_of(secret) == key.public
    sessions.end(secret)
    sessions.end(secret)
    assert sessions.key_of(secret) is None
    assert other_server.key_of(secret) is None
    with away(catalog), pytest.raises(ServiceUnavailable):
        sessions.key_of(secret)


def test_while_the_database_is_away_known_sessions_go_on_until_they_are_idle_and_unknown_ones_wait(
    catalog: Catalog, key: NewKey, sessions: CatalogSessions, clock: Clock
) -> None:
    secret = sessions.begin_by_proof(proof_of(sessions, key), ADDRESS).secret
    with away(catalog), pytest.raises(ServiceUnavailable):
        sessions.key_of("s" * 43)
    assert sessions.key_of(secret) == key.public
    with away(catalog):
        assert sessions.key_of(secret) == key.public
        clock.now += IDLE_SECONDS
        with pytest.raises(ServiceUnavailable):
            sessions.key_of(secret)


def test_the_account_is_that_of_the_key(catalog: Catalog, key: NewKey, sessions: CatalogSessions) -> None:
    caller = sessions.begin_by_proof(proof_of(sessions, key), ADDRESS).caller
    with catalog.database.read() as connection:
        assert caller.account == ACCOUNTS.find(connection, ACME)


def test_a_request_finds_its_session_by_one_statement_without_a_transaction_in_a_thread(
    catalog: Catalog, key: NewKey, sessions: CatalogSessions
) -> None:
    secret = sessions.begin_by_proof(proof_of(sessions, key), ADDRESS).secret
    find(sessions, secret)
    before = {kind: counts.count for kind, counts in catalog.database.calls.items()}

    found, again, unknown = find(sessions, secret, secret, "s" * 43)

    assert found is not None
    assert (found.key, found.account, found == again) == (key.public, ACME, True)
    assert unknown is None
    assert {kind: counts.count for kind, counts in catalog.database.calls.items()} == {**before, "lookup": before["lookup"] + 3}


def test_a_request_finds_no_session_that_ended_and_records_the_use_of_one_that_goes_on(
    catalog: Catalog, key: NewKey, sessions: CatalogSessions, clock: Clock
) -> None:
    secret = sessions.begin_by_proof(proof_of(sessions, key), ADDRESS).secret
    before = catalog.database.calls["write"].count
    clock.now += USE_SECONDS
    assert find(sessions, secret, secret)[0] is not None
    assert catalog.database.calls["write"].count == before + 1
    with away(catalog):
        assert find(sessions, secret)[0] is not None
    clock.now += IDLE_SECONDS - 1
    assert find(sessions, secret)[0] is not None
    clock.now += IDLE_SECONDS
    assert find(sessions, secret) == [None]
    secret = sessions.begin_by_proof(proof_of(sessions, key), ADDRESS).secret
    revoke(catalog, key.public)
    assert find(sessions, secret) == [None]
