"""Snippets: the question of a page for other clients, as exactly the Action that the page called. Never with a key."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping

from msgspec import Struct

from phimage.actions.find import ALL
from phimage.console.visit import Visit

Params = Mapping[str, object]


class Snippet(Struct, frozen=True):
    """Lines for one client."""

    client: str
    text: str


def snippets(visit: Visit, action: str, params: Params, phimage: str = "") -> list[Snippet]:
    """The same request for several clients, at the base address of the catalogue that is shown.

    `phimage` is the command of phimage; a list of images needs none. Clients that cannot say the whole request are left out:
    a snippet never means more than its page.
    """
    given = {name: value for name, value in params.items() if value not in (None, "")}
    base = base_address(visit)
    found = [Snippet("phimage", phimage or _phimage(given, base))]
    if given.get("ProjectId") == ALL:  # signatures of other clients may not ask for it
        return found
    makers: tuple[tuple[str, Callable[[str, Params, str], str]], ...] = (
        ("curl", _curl),
        ("Python", _python),
        ("Go", _go),
        ("ucloud CLI", _ucloud),
        ("Terraform", _terraform),
    )
    found += [Snippet(client, make(action, given, base)) for client, make in makers]
    return [snippet for snippet in found if snippet.text]


def phimage_command(visit: Visit, words: list[str]) -> str:
    """A command of phimage at the base address of the catalogue that is shown."""
    return " ".join(shlex.quote(word) for word in ("phimage", *words, "--endpoint", base_address(visit)))


def base_address(visit: Visit) -> str:
    """The address that clients are configured with, pinned if the page is."""
    return visit.base_url().rstrip("/") + visit.address.pin.rstrip("/")


_OPTIONS = {
    "Zone": "--zone",
    "MachineType": "--machine-type",
    "Cluster": "--cluster",
    "ImageType": "--type",
    "State": "--state",
    "Family": "--family",
    "Deprecated": "--deprecated",
    "Text": "--text",
    "Sort": "--sort",
    "ProjectId": "--project",
    "Label": "--label",
}


def _phimage(params: Params, base: str) -> str:
    words = ["phimage", "image", "ls", "--endpoint", base]
    for name, value in params.items():
        if name == "HasBytes":
            words.append("--has-bytes" if value else "--no-bytes")
        elif name in _OPTIONS:
            words += [f"{_OPTIONS[name]}={each}" for each in (value if isinstance(value, list) else [value])]
    return " ".join(shlex.quote(word) for word in words + ([] if "Zone" in params else ["--all-zones"]))


def _curl(action: str, params: Params, base: str) -> str:
    words = " ".join(shlex.quote(f"{name}={value}") for name, value in _flat({"Action": action, **params}))
    return f'curl -sS --data "$(phimage sign {words})" {shlex.quote(base + "/")}'


def _ucloud(action: str, params: Params, base: str) -> str:
    words = " ".join(f"--{name} {shlex.quote(value)}" for name, value in _flat(params))
    return f"ucloud api --base-url {shlex.quote(base)} --Action {action} {words}".rstrip()


def _python(action: str, params: Params, base: str) -> str:
    return "\n".join(
        (
            "import os",
            "",
            "from ucloud.client import Client",
            "",
            "client = Client(",
            "    {",
            f'        "base_url": {_literal(base)},',
            '        "public_key": os.environ["UCLOUD_PUBLIC_KEY"],',
            '        "private_key": os.environ["UCLOUD_PRIVATE_KEY"],',
            "    }",
            ")",
            f"answer = client.invoke({_literal(action)}, {_python_dict(params)})",
        )
    )


def _go(action: str, params: Params, base: str) -> str:
    values = "".join(f"\n\t{_literal(name)}: {_literal(value)}," for name, value in _flat({"Action": action, **params}))
    return "\n".join(
        (
            "config := ucloud.NewConfig()",
            f"config.BaseUrl = {_literal(base)}",
            "credential := auth.NewCredential()",
            'credential.PublicKey = os.Getenv("UCLOUD_PUBLIC_KEY")',
            'credential.PrivateKey = os.Getenv("UCLOUD_PRIVATE_KEY")',
            "client := ucloud.NewClient(&config, &credential)",
            "request := client.NewGenericRequest()",
            f"err := request.SetPayload(map[string]interface{{}}{{{values}\n}})",
            "answer, err := client.GenericInvoke(request)",
        )
    )


_TERRAFORM = {"Zone": "availability_zone", "MachineType": "instance_type", "ImageType": "image_type"}


def _terraform(action: str, params: Params, base: str) -> str:
    """The data source of the provider, which knows few of the filters. Its texts are templates: `${` begins an expression."""

    def text(value: object) -> str:
        return _literal(value).replace("${", "$${").replace("%{", "%%{")

    own = {name: value for name, value in params.items() if name not in ("Deprecated", "ProjectId")}
    if not own or not own.keys() <= _TERRAFORM.keys() or "Zone" not in own:
        return ""
    lines = [
        f'provider "ucloud" {{\n  base_url = {text(base + "/limit/1000")}\n}}',
        "",
        'data "ucloud_baremetal_images" "these" {',
    ]
    width = max(len(_TERRAFORM[name]) for name in own)
    lines += [f"  {_TERRAFORM[name]:<{width}} = {text(value)}" for name, value in own.items()]
    return "\n".join([*lines, "}"])


def _flat(params: Params) -> list[tuple[str, str]]:
    """Parameters as text; lists by index."""
    flat: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, list):
            flat += [(f"{name}.{position}", str(each)) for position, each in enumerate(value)]
        else:
            flat.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    return flat


def _literal(value: object) -> str:
    """A text as Python and Go write it."""
    return json.dumps(str(value), ensure_ascii=False)


def _python_dict(params: Params) -> str:
    pairs = (
        f"{_literal(name)}: {value!r}" if isinstance(value, bool | list) else f"{_literal(name)}: {_literal(value)}"
        for name, value in params.items()
    )
    return "{" + ", ".join(pairs) + "}"
