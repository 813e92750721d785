"""OpenAPI 3.1 of the gateway, generated from the types of requests and responses.

UCloud's protocol has one URL for all Actions. For generic tools the document gives each Action a path of its own, such as
`/DescribePHostImage`: the gateway answers every Action on every path.
"""

from __future__ import annotations

import json

from msgspec import Struct

from phimage.gateway.decode import MAX_ELEMENTS
from phimage.gateway.describe import AGENTS, ROLES, first_sentence, required_role
from phimage.gateway.registry import SMALL_BODY, AnyAction, AnyRegistry
from phimage.gateway.schemas import FAILURE, REF, components, form
from phimage.json_schema import Schema

FORM = "application/x-www-form-urlencoded"

ABOUT = f"""\
The image service of a physical cloud, in the UCloud API protocol. \
Each path is an alias: the server answers every Action on every path, so clients of that protocol use its base URL alone.

**Signature, version 1.** Sort the parameters by name, write each name and value one after the other without separators, append
the private key; the SHA-1 of that, in lower-case hexadecimal digits, is `Signature`. `PublicKey` names the key.

**Signature, version 2.** HTTP Message Signatures (RFC 9421) with `hmac-sha256` under the private key, over `@method`,
`@path`, `@query` and `content-digest` (RFC 9530, SHA-256); parameters `created`, `nonce`, `keyid` (the public key) and
`tag="phimage"`. Such a request has no parameters PublicKey and Signature. Actions whose description says so need it.

**Lists.** In a form or a query the elements of a list are `Name.0`, `Name.1`, ...; in JSON they may also be an array.
A list has at most {MAX_ELEMENTS} elements. Blank and null mean absent. Unknown parameters are signed and ignored.

**Responses.** Every response to GET and POST has HTTP status 200; `RetCode` is 0 for success.

**Pins.** Before any path, `/rev/<number>` or `/at/<RFC 3339 time>` selects the catalogue of that revision or time, and
`/limit/<number>` sets the default of Limit.
"""

HEADERS: dict[str, Schema] = {
    "X-UCLOUD-REQUEST-UUID": {
        "description": "Request id, as in the server's log.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "X-Phimage-Revision": {
        "description": "Revision of the catalogue that the response reflects. Absent when the request failed before.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-Phimage-Hint": {
        "description": "Ignored parameters with nearly the name of a known one, as `Machinetype (MachineType?), ...`.",
        "schema": {"type": "string"},
    },
    "X-Phimage-Newer": {
        "description": "On a pinned path: newer versions of the listed families, as `family=id, ...`.",
        "schema": {"type": "string"},
    },
}


def document(registry: AnyRegistry, version: str) -> bytes:
    """The document as JSON. It names no server, so its paths are relative to its own URL."""
    actions = list(registry)
    used = {required_role(action) for action in actions}
    roles = [role for role in (*ROLES.values(), *AGENTS.values()) if role in used]
    openapi = {
        "openapi": "3.1.0",
        "info": {
            "title": "phimage",
            "version": version,
            "summary": "The image service of a physical cloud.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": role, "description": f"Actions that require at least: {role}."} for role in roles],
        "paths": {f"/{action.name}": _path(action, registry.settings) for action in actions},
        "components": {
            "schemas": components(actions, registry.settings),
            "headers": HEADERS,
            "responses": {"OtherMethod": _other_method(), "LongTarget": _LONG_TARGET},
        },
    }
    return json.dumps(openapi, ensure_ascii=False, separators=(",", ":")).encode()


def _path(action: AnyAction, settings: Struct) -> Schema:
    fields = form(action, settings)
    query = [_in_query(name, given, required=name in fields["required"]) for name, given in fields["properties"].items()]
    body = {
        "required": True,
        "content": {
            FORM: {"schema": {"$ref": f"{REF}{action.name}Form"}},
            "application/json": {"schema": {"$ref": f"{REF}{action.name}"}},
        },
    }
    return {
        "post": {"operationId": action.name, **_operation(action), "requestBody": body},
        "get": {"operationId": f"{action.name}ByQuery", **_operation(action), "parameters": query},
    }


def _in_query(name: str, schema: Schema, *, required: bool) -> Schema:
    own = {word: value for word, value in schema.items() if word != "description"}
    return {"name": name, "in": "query", "required": required, "description": schema["description"], "schema": own}


def _operation(action: AnyAction) -> Schema:
    paragraphs = [" ".join(action.summary.split()), f"Required role: {required_role(action)}."]
    if action.changes:
        paragraphs.append("It changes the catalogue, so a pinned path refuses it.")
    if action.needs_version_2:
        paragraphs.append("It needs a signature of version 2.")
    if action.max_body > SMALL_BODY:
        paragraphs.append(f"For a body of more than {SMALL_BODY} bytes, send `?Action={action.name}` in the query as well.")
    response = {
        "description": "The result, or an error.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS},
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"$ref": f"{REF}{action.name}Response"}, {"$ref": f"{REF}{FAILURE}"}]},
            },
        },
    }
    return {
        "summary": first_sentence(action.summary),
        "description": "\n\n".join(paragraphs),
        "tags": [required_role(action)],
        "responses": {
            "200": response,
            "405": {"$ref": "#/components/responses/OtherMethod"},
            "414": {"$ref": "#/components/responses/LongTarget"},
        },
    }


_LONG_TARGET: Schema = {
    "description": "The HTTP server reads no longer path and query. Send the parameters in the body of a POST."
}


def _other_method() -> Schema:
    allow = {"description": "GET, POST", "required": True, "schema": {"type": "string", "const": "GET, POST"}}
    return {
        "description": "Any method other than GET and POST.",
        "headers": {"Allow": allow, "X-UCLOUD-REQUEST-UUID": {"$ref": "#/components/headers/X-UCLOUD-REQUEST-UUID"}},
        "content": {"application/json": {"schema": {"$ref": f"{REF}{FAILURE}"}}},
    }
