"""`/openapi.json`: what it says, and that it is so."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
import urllib3
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from phimage import __version__
from phimage.actions import registry
from phimage.errors import REQUEST_ERRORS
from phimage.fields import nested_records
from phimage.gateway.openapi import document
from phimage.gateway.registry import AnyAction
from tests.api_described.racked import Racked, rescued
from tests.api_described.samples import Params, project_of, samples
from tests.api_described.served import Served

ACTIONS = list(registry())
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def openapi() -> Any:
    return json.loads(document(registry(), __version__))


@pytest.fixture(scope="module")
def hosts(served: Served) -> Racked:
    with served.client() as client:
        return Racked(client)


@pytest.fixture(scope="module")
def good(served: Served, hosts: Racked) -> dict[str, Params]:
    with served.client() as client:
        return samples(client, hosts)


def test_it_is_openapi(openapi: Any) -> None:
    OpenAPIV31SpecValidator(openapi).validate()


def test_it_says_what_it_is_and_names_no_server(openapi: Any) -> None:
    assert openapi["openapi"].startswith("3.1.")
    assert openapi["info"]["title"] == "phimage"
    assert openapi["info"]["version"] == __version__
    assert openapi["info"]["license"]["identifier"] == "Apache-2.0"
    assert "servers" not in openapi
    assert "://" not in json.dumps(openapi["info"])


def test_a_server_answers_it(served: Served) -> None:
    answer = urllib3.request("GET", f"{served.url}/openapi.json", timeout=60)

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.data == document(registry(), __version__)


def test_every_action_has_a_path_for_each_way_to_call_it(openapi: Any) -> None:
    assert set(openapi["paths"]) == {f"/{action.name}" for action in ACTIONS}
    for path, item in openapi["paths"].items():
        assert set(item) == {"get", "post"}
        assert set(item["post"]["requestBody"]["content"]) == {FORM, "application/json"}
        assert {item["post"]["operationId"], item["get"]["operationId"]} == {path[1:], f"{path[1:]}ByQuery"}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_a_request_has_its_action_its_key_and_its_signature(action: AnyAction, openapi: Any) -> None:
    schemas = openapi["components"]["schemas"]
    for name in (action.name, f"{action.name}Form"):
        properties = schemas[name]["properties"]
        assert properties["Action"]["const"] == action.name
        assert {"Action", "PublicKey", "Signature"} <= set(schemas[name]["required"])
        if action.project:
            assert "ProjectId" in properties
            assert "ProjectId" not in schemas[name]["required"]
    given = {parameter["name"]: parameter["required"] for parameter in openapi["paths"][f"/{action.name}"]["get"]["parameters"]}
    form = schemas[f"{action.name}Form"]
    assert given == {name: name in form["required"] for name in form["properties"]}


def test_no_two_records_have_the_same_name() -> None:
    records = {record for action in ACTIONS for record in (action.request, action.response, *nested_records(action.response))}
    names = Counter(record.__name__ for record in records)
    assert [name for name, count in names.items() if count > 1] == []


def test_what_an_action_needs_is_required(openapi: Any) -> None:
    schemas = openapi["components"]["schemas"]
    assert {"Region", "Zone"} <= set(schemas["DescribePHostImage"]["required"])
    assert schemas["DescribePHostImage"]["properties"]["Zone"]["type"] == "string"
    assert "Limit" not in schemas["DescribePHostImage"]["required"]


def test_a_list_is_an_array_in_json_and_has_indices_in_a_form(openapi: Any) -> None:
    schemas = openapi["components"]["schemas"]
    assert schemas["DescribePHostImage"]["properties"]["ImageId"]["type"] == "array"
    form = schemas["DescribePHostImageForm"]
    assert "ImageId" not in form["properties"]
    assert form["properties"]["ImageId.0"]["type"] == "string"
    assert list(form["patternProperties"]) == [r"^ImageId\.[0-9]{1,9}$"]


def test_an_error_has_one_of_the_known_codes(openapi: Any) -> None:
    codes = openapi["components"]["schemas"]["Failure"]["properties"]["RetCode"]["enum"]
    assert codes == [error.ret_code for error in REQUEST_ERRORS]


def test_every_action_has_a_sample(good: dict[str, Params]) -> None:
    assert set(good) == {action.name for action in ACTIONS}, "add the new Action to tests/api_described/samples.py"


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_a_good_answer_is_as_described_and_not_an_error(
    action: AnyAction, good: dict[str, Params], hosts: Racked, served: Served, openapi: Any
) -> None:
    params = dict(good[action.name])
    if action.name in ("CreatePHostImage", "ReinstallPHost"):  # the agent of the host was heard within a minute
        with served.client() as operator:
            params["PHostId"] = rescued(operator, project_of(operator))
    with served.client(hosts.key(action.name), path=f"/{action.name}") as client:
        answer = client.call(action.name, **params).fields

    told = openapi["paths"][f"/{action.name}"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    OAS31Validator({**told, "components": openapi["components"]}).validate(answer)
    OAS31Validator({"$ref": told["oneOf"][0]["$ref"], "components": strict(openapi)}).validate(answer)


def strict(openapi: Any) -> dict[str, Any]:
    """The schemas without room for fields that they do not name; clients must bear those, we must not forget them."""
    schemas = openapi["components"]["schemas"].items()
    return {"schemas": {name: {**schema, "additionalProperties": False} for name, schema in schemas if "properties" in schema}}


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_any_other_method_is_answered_405(method: str, served: Served, openapi: Any) -> None:
    answer = urllib3.request(method, f"{served.url}/GetRegion?Action=GetRegion", timeout=60)

    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"
    assert "x-ucloud-request-uuid" in answer.headers
    if method != "HEAD":
        schema = {"$ref": "#/components/schemas/Failure", "components": openapi["components"]}
        OAS31Validator(schema).validate(answer.json())
