"""`phimage sign`: sign a request, or check a signature."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import click

from phimage.cli.output import echo, json_option, print_json
from phimage.cli.profile import Session, signed
from phimage.errors import ClientError, RequestError
from phimage.gateway.doctor import diagnose
from phimage.gateway.params import Params, read_params
from phimage.gateway.signature import SIGNATURE, sign, verify
from phimage.model.account import PrivateKey


@click.command("sign", short_help="Sign a request, or find the mistake in a signature.")
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--check", "request", metavar="REQUEST", help="Request to check: a URL, a form or JSON body, or @FILE.")
@json_option
@signed
def sign_(session: Session, parameters: tuple[str, ...], request: str | None, as_json: bool) -> None:
    """Sign a request with the profile's key as UCloud's clients do (version 1) and print it as a form, or check the signature
    of one.

    Nothing is sent. A check prints the signed text with the private key masked. If the signature is wrong, it prints the likely
    cause and exits with 1.

    \b
    Examples:
      phimage sign Action=DescribePHostImage Region=cn-bj2 Zone=cn-bj2-02
      phimage sign --check 'http://127.0.0.1:8080/?Action=GetRegion&PublicKey=...&Signature=...'
      phimage sign --check @body.json
    """
    key = PrivateKey(session.profile.private_key)
    if request is not None:
        _check(_params(request), key, as_json=as_json)
        return
    if not parameters:
        raise click.UsageError("give NAME=VALUE pairs to sign, or --check REQUEST")
    pairs = dict(_pair(text) for text in parameters)
    body = {"PublicKey": session.profile.public_key, **pairs}
    body[SIGNATURE] = sign(body, key)
    if as_json:
        print_json(body)
    else:
        echo(urlencode(body))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"{text!r} is not NAME=VALUE")
    return name, value


def _params(request: str) -> Params:
    text = request
    if request.startswith("@"):
        try:
            text = Path(request[1:]).read_text("utf-8").strip()
        except OSError as error:
            raise ClientError(f"{request[1:]} cannot be read: {error.strerror}; check the path and its permissions") from None
        except UnicodeDecodeError as error:
            raise ClientError(f"{request[1:]} is not UTF-8: byte {error.start}") from None
    try:
        if text.startswith(("http://", "https://")):
            return read_params("GET", "", urlsplit(text).query, b"")
        return read_params("POST", "", "", text.encode())
    except RequestError as error:
        raise ClientError(f"the request cannot be read: {error}") from None


def _check(params: Params, key: PrivateKey, *, as_json: bool) -> None:
    signature = params.get(SIGNATURE)
    if not isinstance(signature, str) or not signature:
        raise ClientError("the request has no Signature; sign it with `phimage sign NAME=VALUE ...`")
    good = verify(params, signature, key)
    diagnosis = diagnose(params, signature, key)
    result = {
        "Good": good,
        "Canonical": diagnosis.canonical,
        "Given": signature,
        "Expected": sign(params, key),
        "Likely": diagnosis.likely,
    }
    if as_json:
        print_json(result)
    else:
        echo(f"signed text  {result['Canonical']}")
        echo(f"given        {result['Given']}")
        echo(f"expected     {result['Expected']}")
        echo("the signature is right" if good else f"the signature is wrong; likely: {diagnosis.likely}")
    if not good:
        sys.exit(1)
