"""Answers as every client decodes them, strictly (wire-protocol 1.2, 1.3, 3.2, 3.3)."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta, Struct

from phimage.errors import REQUEST_ERRORS, MissingParam, RequestError, UnavailableParam, UnknownAction
from phimage.gateway.envelope import failure, success

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


class Go(Struct, frozen=True):
    """Go, the CLI and Terraform: exact types. A missing RetCode would look like success, so here it is required."""

    RetCode: int
    Message: str = ""
    Action: str = ""


class Java(Struct, frozen=True):
    """Java: 32 bits, and a RetCode that is missing or null is a NullPointerException."""

    RetCode: Int32
    Message: str
    Action: str | None = None


class Python(Struct, frozen=True):
    """Python raises for a RetCode that is null, and prints None for a Message that is."""

    RetCode: int
    Message: str


class Script(Struct, frozen=True):
    """JavaScript and PHP compare RetCode with the number 0."""

    RetCode: int
    Message: str


CLIENTS = [Go, Java, Python, Script]
NASTY = ["Zone", "", 'a"b\\c', "new\nline\t\0\x1f\x7f", "镜像 é", "\U0001f600\uffff\u2028", "</script>&", "{}[]{0}"]


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_decodes_in_every_client(kind: type[RequestError]) -> None:
    for client, action, detail, subject in product(CLIENTS, ("", "DescribePHostImage"), ("", "what helps: 镜像"), NASTY):
        error = kind(subject, detail=detail)
        body = failure(action, error)

        found = msgspec.json.decode(body, type=client, strict=True)

        assert (found.RetCode, found.Message) == (kind.ret_code, error.message), (client, action, detail)


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_is_one_json_object_without_a_byte_order_mark(kind: type[RequestError]) -> None:
    body = failure("GetRegion", kind("X", detail="d"))
    fields = json.loads(body.decode("utf-8"))

    assert body.startswith(b'{"RetCode":%d,' % kind.ret_code)
    assert body.endswith(b"}")
    assert fields == {
        "RetCode": kind.ret_code,
        "Action": "GetRegionResponse",
        "Message": kind.form.format("X"),
        "Detail": "d",
    }
    assert len({name.lower() for name in fields}) == len(fields)


def test_ret_codes_are_unique_not_zero_and_below_those_that_clients_repeat() -> None:
    codes = [kind.ret_code for kind in REQUEST_ERRORS]

    assert len(set(codes)) == len(codes)
    assert all(0 < code < 2000 for code in codes)


def test_every_error_that_can_be_raised_is_registered() -> None:
    def below(kind: type[RequestError]) -> set[type[RequestError]]:
        return {kind}.union(*(below(inner) for inner in kind.__subclasses__()))

    assert below(RequestError) - {RequestError} == set(REQUEST_ERRORS)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (160, "Missing Action"),
        (161, "Action [X] not found"),
        (170, "Missing signature"),
        (171, "Signature VerifyAC Error"),
        (172, "User Not Exists"),
        (174, "Token Not Exists"),
        (220, "Missing params [X]"),
        (230, "Params [X] not available"),
        (240, "Params [X] too large"),
        (292, "Project [X] not exists"),
        (150, "Service unavailable"),
    ],
)
def test_messages_have_the_wording_that_clients_have_seen(code: int, message: str) -> None:
    (kind,) = (kind for kind in REQUEST_ERRORS if kind.ret_code == code)

    assert kind("X", detail="more").message == message


@pytest.mark.parametrize("kind", REQUEST_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_means(kind: type[RequestError]) -> None:
    assert re.fullmatch(r"[a-z].*[^.]", kind.meaning) or kind.meaning.startswith(
        ("PublicKey", "SecurityToken", "the PublicKey")
    )
    assert str(kind("X")) == kind.form.format("X")
    assert str(kind("X", detail="d")) == f"{kind.form.format('X')}: d"


def test_no_action_is_named_before_it_is_known() -> None:
    assert failure("", MissingParam("Zone")) == b'{"RetCode":220,"Message":"Missing params [Zone]"}'


def test_an_action_that_does_not_exist_is_named_as_it_was_given() -> None:
    fields = json.loads(failure('镜像"', UnknownAction('镜像"')))

    assert fields == {"RetCode": 161, "Action": '镜像"Response', "Message": 'Action [镜像"] not found'}


def test_without_a_detail_there_is_no_detail() -> None:
    assert "Detail" not in json.loads(failure("GetRegion", UnavailableParam("Region")))


def test_an_error_carries_its_own_fields_beside_the_message() -> None:
    fields = json.loads(failure("GetRegion", UnavailableParam("X", fields={"Signed": "text"})))

    assert fields == {"RetCode": 230, "Action": "GetRegionResponse", "Message": "Params [X] not available", "Signed": "text"}


class Answer(Struct, rename="pascal", frozen=True, kw_only=True):
    """An answer with fields."""

    total_count: int
    image_set: tuple[str, ...]


class Nothing(Struct, frozen=True):
    """An answer that has none."""


def test_a_good_answer_has_an_integer_ret_code_and_the_name_of_the_action() -> None:
    body = success("DescribePHostImage", Answer(total_count=1, image_set=("镜像",)))

    assert body == '{"RetCode":0,"Action":"DescribePHostImageResponse","TotalCount":1,"ImageSet":["镜像"]}'.encode()


def test_an_answer_without_fields_is_an_object_all_the_same() -> None:
    assert success("X", Nothing()) == b'{"RetCode":0,"Action":"XResponse"}'


def test_an_empty_list_is_a_list() -> None:
    assert json.loads(success("X", Answer(total_count=0, image_set=()))) == {
        "RetCode": 0,
        "Action": "XResponse",
        "TotalCount": 0,
        "ImageSet": [],
    }
