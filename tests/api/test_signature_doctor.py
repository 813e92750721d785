"""In development a wrong signature is answered with what was likely signed differently, and with no secret."""

from __future__ import annotations

from tests.api.conftest import Start
from tests.api.gateway import Gateway
from tests.api.signer import DEMO, FORM
from tests.sites import Site


def _blank_dropped(gateway: Gateway) -> str:
    import hashlib
    from urllib.parse import urlencode

    params = {"Action": "GetRegion", "PublicKey": DEMO.public, "private-key": "sk-secret", "Zone": ""}
    text = "".join(f"{name}{params[name]}" for name in sorted(params) if params[name])
    signature = hashlib.sha1((text + DEMO.private).encode()).hexdigest()
    body = urlencode({**params, "Signature": signature}).encode()
    reply = gateway.send(headers=[("Content-Type", FORM)], body=body)
    assert reply.ret_code == 171
    return reply.message


def test_the_message_names_the_likely_mistake_and_the_signed_text(start: Start, demo_site: Site) -> None:
    message = _blank_dropped(start(demo_site, explain_signatures=True))
    assert message.startswith("Signature VerifyAC Error: signed here: ActionGetRegionPublicKey")
    assert "blank dropped" in message
    assert DEMO.private not in message
    assert "sk-secret" not in message


def test_by_default_the_message_is_the_one_that_clients_know(gateway: Gateway) -> None:
    assert _blank_dropped(gateway) == "Signature VerifyAC Error"
