from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from phimage.delivery.ticket import Purpose, Ticket, make_ticket, read_ticket
from phimage.errors import NotPermitted
from phimage.model.ids import ProjectId, PublicKey

SECRET = bytes(range(32))
IMAGE = "pimg-cs-xev4rz2k"
KEY = PublicKey("phimage4k2xqz7a")
PROJECT = ProjectId("org-4k2xqz7a")
EXPIRES = 1_795_000_000

GOOD = make_ticket(SECRET, "download", IMAGE, KEY, PROJECT, EXPIRES)
text = st.text(st.characters(codec="utf-8"), max_size=40)


def refused(
    query: str, now: float = EXPIRES - 1, secret: bytes = SECRET, subject: str = IMAGE, purpose: Purpose = "download"
) -> object:
    with pytest.raises(NotPermitted) as raised:
        read_ticket(secret, purpose, subject, query, now)
    assert raised.value.detail
    return raised.value.fields["Reason"]


def test_a_ticket_says_who_asked_for_it_and_until_when_it_is_good() -> None:
    assert read_ticket(SECRET, "download", IMAGE, GOOD, EXPIRES - 0.001) == Ticket(
        KEY, PROJECT, EXPIRES, dict(parse_qsl(GOOD))["Ticket"]
    )
    assert [name for name, _ in parse_qsl(GOOD)] == ["Expires", "ProjectId", "PublicKey", "Ticket"]


def test_a_ticket_expires() -> None:
    assert refused(GOOD, now=EXPIRES) == "expired"


def test_a_ticket_is_for_one_image_one_purpose_and_one_installation() -> None:
    assert refused(GOOD, subject="pimg-cs-other") == "altered"
    assert refused(GOOD, purpose="upload") == "altered"
    assert refused(GOOD, secret=bytes(32)) == "altered"


def test_an_altered_ticket_does_not_tell_whether_it_expired() -> None:
    assert refused(GOOD.replace("Expires=1", "Expires=0"), now=EXPIRES + 1) == "altered"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "Ticket=",
        GOOD.replace("ProjectId", "Project"),
        GOOD + "&Expires=2000000000",
        GOOD + "&Ticket=",
        "&" * 5000,
        "a=b&" * 100,
    ],
)
def test_a_query_without_each_field_once_is_malformed(query: str) -> None:
    assert refused(query) == "malformed"


def test_other_parameters_do_not_matter() -> None:
    assert read_ticket(SECRET, "download", IMAGE, f"x=1&{GOOD}&Region=cn", 0).expires == EXPIRES


@given(text, text, text, st.integers(1, 2**40))
def test_what_a_ticket_was_made_of_comes_out_again(subject: str, key: str, project: str, expires: int) -> None:
    query = make_ticket(SECRET, "upload", subject, PublicKey(key), ProjectId(project), expires)

    found = read_ticket(SECRET, "upload", subject, query, expires - 1)
    assert (found.public_key, found.project, found.expires) == (key, project, expires)


@given(st.sampled_from(["Expires", "ProjectId", "PublicKey", "Ticket"]), st.data())
def test_any_changed_bit_of_any_field_is_refused(name: str, data: st.DataObject) -> None:
    fields = dict(parse_qsl(GOOD))
    value = fields[name].encode()
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8

    query = urlencode({**fields, name: bytes(changed)})

    assert refused(query) == "altered"


@given(st.sampled_from(["Expires", "ProjectId", "PublicKey", "Ticket"]), text)
def test_any_other_value_of_any_field_is_refused(name: str, value: str) -> None:
    fields = dict(parse_qsl(GOOD))
    assume(value != fields[name])

    assert refused(urlencode({**fields, name: value})) == "altered"


@given(text, text, text, text)
def test_fields_cannot_run_into_each_other(project: str, key: str, other_project: str, other_key: str) -> None:
    assume((project, key) != (other_project, other_key))
    fields = dict(parse_qsl(make_ticket(SECRET, "download", IMAGE, PublicKey(key), ProjectId(project), EXPIRES)))
    fields = {"Expires": str(EXPIRES), "Ticket": fields["Ticket"]}

    assert refused(urlencode({**fields, "ProjectId": other_project, "PublicKey": other_key})) == "altered"
