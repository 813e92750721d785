"""schemathesis reads the description and calls every Action, in every encoding, with signed requests of its own making."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
import schemathesis
from _pytest.mark import ParameterSet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from phimage.actions import registry
from phimage.errors import RequestError, ServiceUnavailable
from phimage.gateway.params import read_params
from phimage.gateway.signature import SIGNATURE, sign
from phimage.model.account import PrivateKey
from tests.api_described.served import Served
from tests.e2e.process import Key

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]

EXAMPLES = 5
"""Requests of each kind to each Action and method: together about 20 seconds."""

REAL = {"Region": "cn-bj2", "Zone": "cn-bj2-02", "MachineType": "DB-2", "Cluster": "10G", "Account": "demo", "User": "main"}
"""What exists, so that some requests are answered well."""

SHORT = {"Wait": 0}
"""What would make the test wait."""


class Signer(requests.auth.AuthBase):
    """Signs a request as it goes out: the very parameters that it carries, whatever schemathesis made of them."""

    def __init__(self, key: Key) -> None:
        self._public = key.public
        self._private = PrivateKey(key.private)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if request.method == "GET":
            url = urlsplit(str(request.url))
            request.url = url._replace(query=self._form(url.query)).geturl()
        elif request.body:
            body = request.body.encode() if isinstance(request.body, str) else request.body
            assert isinstance(body, bytes)
            with suppress(RequestError, ValueError):  # what cannot be read cannot be signed: the server must say so
                is_json = request.headers.get("Content-Type") == "application/json"
                request.body = self._json(json.loads(body)) if is_json else self._form(body.decode()).encode()
                request.prepare_content_length(request.body)
        return request

    def _form(self, text: str) -> str:
        params = {name: value for name, value in parse_qsl(text, keep_blank_values=True) if name != SIGNATURE}
        params["PublicKey"] = self._public
        return urlencode({**params, SIGNATURE: sign(params, self._private)})

    def _json(self, found: object) -> bytes:
        if not isinstance(found, dict):
            return json.dumps(found).encode()
        found["PublicKey"] = self._public
        params = read_params("POST", "application/json", "", json.dumps(found).encode())
        return json.dumps({**found, SIGNATURE: sign(params, self._private)}).encode()


@pytest.fixture(scope="module")
def description(served: Served) -> OpenApiSchema:
    """What the server says of itself."""
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


def _kinds() -> Iterator[ParameterSet]:
    """Every Action with each method and mode: one of the four in `make test`, by turns from Action to Action."""
    kinds = [(method, mode) for method in ("post", "get") for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    for number, action in enumerate(registry()):
        for place, (method, mode) in enumerate(kinds):
            marks = () if place == number % len(kinds) else pytest.mark.more
            yield pytest.param(action.name, method, mode, marks=marks, id=f"{action.name}-{method}-{mode.value}")


@pytest.mark.parametrize(("action", "method", "mode"), list(_kinds()))
def test_every_answer_is_as_described(
    action: str, method: str, mode: GenerationMode, served: Served, description: OpenApiSchema
) -> None:
    operation = description[f"/{action}"][method]
    signer = Signer(served.key)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(mode), real=st.booleans())
    def ask(case: Case[Any], real: bool) -> None:
        for params in (case.query, case.body):
            if isinstance(params, dict):
                known = {**SHORT, **(REAL if real else {})}
                params |= {name: value for name, value in known.items() if name in params}
        answer = case.call_and_validate(served.url, session=session, auth=signer, checks=CHECKS, timeout=60)
        if answer.status_code == 414:  # of the HTTP server, without a body
            return
        assert answer.json()["RetCode"] != ServiceUnavailable.ret_code, answer.text

    with requests.Session() as session:
        ask()
