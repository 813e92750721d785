"""Downloads through the whole gateway: who is let in to an image's bytes, by an address or by a signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from msgspec.structs import replace

from phimage.actions.authorizers import CatalogDownloadAuthorizer
from phimage.actions.service import Service
from phimage.catalog.accounts import ACCOUNTS
from phimage.catalog.images import IMAGES
from phimage.delivery.authorizer import DownloadAccessRequest, DownloadGrant
from phimage.delivery.ticket import make_ticket
from phimage.installation import command_author
from phimage.model.ids import ImageId, ProjectId, PublicKey
from phimage.model.image import State
from tests.api import small
from tests.api.conftest import Start, both_sites
from tests.api.publishing import ABOUT, Shop, disk, sha256_of
from tests.api.signer import Encoding, Pair, Params, signed
from tests.delivering import Answered
from tests.sites import Site

FORMS = {"RawUrl": ".raw", "ZstdUrl": ".raw.zst", "Qcow2Url": ".qcow2", "Sha256Url": ".sha256", "ManifestUrl": "/manifest"}
ORG_A = {"ImageType": "Custom", "ProjectId": "org-a"}


def url_of(shop: Shop, image: str, pair: Pair = small.ACME, **more: Any) -> str:
    """The address of the raw disk."""
    return str(shop.well("GetPHostImageDownloadUrl", {"ImageId": image, **more}, pair)["RawUrl"])


def get(shop: Shop, url: str, client: str = "127.0.0.1") -> Answered:
    return shop.gateway.fetch("GET", url, client=client)


def get_signed(shop: Shop, image: str, pair: Pair, form: str = ".raw", client: str = "127.0.0.1", **more: str) -> Answered:
    """A download that is signed, without an address that was given before."""
    params: Params = {"ImageId": image, **more}
    query = signed(str(more.get("Action", "DownloadPHostImage")), params, Encoding.QUERY, pair).query
    return get(shop, f"/images/{image}{form}?{query}", client)


def set_state(shop: Shop, image: str, state: State) -> None:
    with shop.catalog.change(command_author("Test")) as change:
        found = IMAGES.find(change.connection, ImageId(image))
        assert found is not None
        IMAGES.put(change, replace(found, state=state))
    shop.gateway.learn(shop.catalog.head)


# with an address


@both_sites
def test_every_form_has_an_address_that_works_without_a_signature(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    image = shop.publish(original)
    found = shop.well("GetPHostImageDownloadUrl", {"ImageId": image, "Seconds": 60}, small.ACME)

    answers = {name: get(shop, found[name]) for name in FORMS}

    assert all(answer.status == 200 and answer.whole for answer in answers.values())
    assert answers["RawUrl"].body == original.read_bytes()
    assert answers["Sha256Url"].body.split()[0].decode() == sha256_of(original)
    assert (found["Digest"], found["DiskSize"]) == (f"sha256:{sha256_of(original)}", original.stat().st_size)
    for name, form in FORMS.items():
        address, _, query = found[name].partition("?")
        assert address == f"http://127.0.0.1/images/{image}{form}"
        assert dict(parse_qsl(query, keep_blank_values=True))["Expires"] == str(found["ExpireTime"])
    assert small.ACME.private not in str(found)


def test_addresses_begin_with_what_the_caller_called_or_what_the_settings_say(
    start: Start, small_site: Site, shop: Shop, tmp_path: Path
) -> None:
    image = shop.publish(disk(tmp_path))
    request = signed("GetPHostImageDownloadUrl", {"ImageId": image}, pair=small.ACME)
    for host, said in (("images.example:8443", "http://images.example:8443"), ("evil.example/x?", "http://127.0.0.1")):
        reply = shop.gateway.replay(request._replace(headers=(*request.headers, ("Host", host))))
        assert reply.fields["RawUrl"].startswith(f"{said}/images/{image}.raw?")

    told = start(small_site, public_url="https://images.example/")
    begun = told.ask("PublishPHostImage", {**ABOUT, "TrustFirstUse": True}, pair=small.OPERATOR).fields
    assert begun["UploadUrl"].startswith(f"https://images.example/uploads/{begun['JobId']}?")


def test_an_address_is_good_for_its_image_alone(shop: Shop, tmp_path: Path) -> None:
    one, other = shop.publish(disk(tmp_path)), shop.publish(disk(tmp_path, seed=2))
    url = url_of(shop, one)
    assert get(shop, url).status == 200
    assert get(shop, url.replace(one, other)).status == 401


@pytest.mark.parametrize("name", ["Expires", "ProjectId", "PublicKey", "Ticket"])
def test_an_address_that_was_changed_is_refused(name: str, shared_shop: Shop, shared_image: str) -> None:
    address, _, query = url_of(shared_shop, shared_image).partition("?")
    fields = dict(parse_qsl(query, keep_blank_values=True))
    changed = {"Expires": str(int(fields["Expires"]) + 1), "Ticket": fields["Ticket"][:-1] + "x"}.get(name, "other")
    assert get(shared_shop, f"{address}?{urlencode({**fields, name: changed})}").status == 401
    del fields[name]
    assert get(shared_shop, f"{address}?{urlencode(fields)}").status == 401


def test_a_download_counts_for_the_project_of_its_ticket_or_signature_and_else_for_the_account(
    shared_shop: Shop, shared_image: str
) -> None:
    service = Service(catalog=shared_shop.catalog, store=shared_shop.store, max_original=1, min_free=0, public_url="")
    authorizer = CatalogDownloadAuthorizer(service)
    secret, key = service.ticket_secret(), PublicKey(shared_shop.operator.public)

    def grant(query: str) -> DownloadGrant:
        path = f"/images/{shared_image}.raw"
        return authorizer.authorize(
            DownloadAccessRequest(ImageId(shared_image), "GET", path, query, "127.0.0.1", "id", wait=True)
        )

    def ticket(pair: Pair, seconds: int) -> str:
        return url_of(shared_shop, shared_image, pair, Seconds=seconds).partition("?")[2]

    again = ticket(small.ACME, 1000)
    acme = [grant(query) for query in (again, f"x=1&{again}", ticket(small.ACME, 2000))]
    acme.append(grant(signed("DownloadPHostImage", {"ImageId": shared_image}, Encoding.QUERY, small.ACME).query))
    rival = grant(ticket(small.RIVAL, 1000))
    base = grant(make_ticket(secret, "download", shared_image, key, ProjectId(""), 4_000_000_000))

    assert {(found.account, found.holder) for found in acme} == {("acme", "org-a")}
    assert [acme[0].permit == found.permit for found in acme] == [True, True, False, False]
    assert rival.holder not in ("", "org-a")
    assert base.holder == base.account
    assert base.account in {account["Account"] for account in shared_shop.well("ListAccounts")["AccountSet"]}
    assert acme[0].permit not in repr(acme[0])


def test_an_address_ends_with_its_time(shared_shop: Shop, shared_image: str) -> None:
    image = shared_image
    secret = shared_shop.catalog.key_encryption.derive("tickets")
    late = make_ticket(secret, "download", image, PublicKey(small.ACME.public), ProjectId("org-a"), 1_000_000_000)
    answer = get(shared_shop, f"/images/{image}.raw?{late}")
    assert (answer.status, b"has expired" in answer.body) == (401, True)
    for seconds in (0, 7 * 24 * 3600 + 1):
        refused = shared_shop.ask("GetPHostImageDownloadUrl", {"ImageId": image, "Seconds": seconds}, small.ACME)
        assert refused.message == "Params [Seconds] not available"


def test_an_address_ends_with_the_key_that_asked_for_it(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    of_acme, of_rival = url_of(shop, image), url_of(shop, image, small.RIVAL)
    shop.well("RevokeAccessKey", {"AccessKey": small.ACME.public})
    assert (get(shop, of_acme).status, get(shop, of_rival).status) == (401, 200)


def test_an_address_ends_when_its_owner_leaves_the_project(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path), **ORG_A)
    url = url_of(shop, image, small.VIEWER, ProjectId="org-a")
    assert get(shop, url).status == 200
    shop.well("RemoveProjectMember", {"Account": "acme", "ProjectId": "org-a", "User": small.VIEWER.public})
    assert get(shop, url).status == 403


def test_a_ticket_for_an_upload_opens_no_download_and_one_for_a_download_no_upload(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    begun = shop.well("PublishPHostImage", {**ABOUT, "TrustFirstUse": True})
    secret, key = shop.catalog.key_encryption.derive("tickets"), PublicKey(shop.operator.public)
    for_upload = make_ticket(secret, "upload", image, key, ProjectId(""), 4_000_000_000)
    for_download = make_ticket(secret, "download", begun["JobId"], key, ProjectId(""), 4_000_000_000)

    assert get(shop, f"/images/{image}.raw?{for_upload}").status == 401
    assert get(shop, f"/images/{image}.raw?{begun['UploadUrl'].partition('?')[2]}").status == 401
    assert shop.put(f"/uploads/{begun['JobId']}?{for_download}", b"x").status == 401  # so that a client asks for a new one
    assert shop.put(begun["UploadUrl"], b"x").status == 201


def test_an_upload_url_ends_with_the_operators_key(shop: Shop) -> None:
    url = shop.well("PublishPHostImage", {**ABOUT, "TrustFirstUse": True}, small.OPERATOR)["UploadUrl"]
    assert shop.put(url, b"x").status == 201
    shop.well("RevokeAccessKey", {"AccessKey": small.OPERATOR.public})
    assert shop.put(url, b"x").status == 401


# with a signature


def test_a_signed_request_needs_no_address(shared_shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    image = shared_shop.publish(original)
    for pair, more in ((small.ACME, {}), (small.VIEWER, {"ProjectId": "org-a"}), (small.RIVAL, {})):
        assert get_signed(shared_shop, image, pair, **more).body == original.read_bytes()


def test_who_does_not_say_who_asks_or_says_it_wrongly_gets_nothing(shared_shop: Shop, shared_image: str) -> None:
    image = shared_image
    assert get(shared_shop, f"/images/{image}.raw").status == 401
    assert get_signed(shared_shop, image, Pair(small.ACME.public, "wrong")).status == 401
    assert get_signed(shared_shop, image, Pair("key-nobody", "wrong")).status == 401
    assert get_signed(shared_shop, image, small.VIEWER).status == 403  # a sub-user names its project
    assert get_signed(shared_shop, image, small.ACME, ProjectId="org-r").status == 404
    assert get_signed(shared_shop, image, small.ACME, Action="GetPHostImage").status == 400


def test_a_signature_is_good_for_its_image_alone(shop: Shop, tmp_path: Path) -> None:
    one, other = shop.publish(disk(tmp_path)), shop.publish(disk(tmp_path, seed=2))
    query = signed("DownloadPHostImage", {"ImageId": one}, Encoding.QUERY, small.ACME).query
    assert get(shop, f"/images/{one}.raw?{query}").status == 200
    assert get(shop, f"/images/{other}.raw?{query}").status in (400, 404)


def test_a_signed_download_comes_from_where_the_account_may_call(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    assert get_signed(shop, image, small.FENCED, client=small.INSIDE).status == 200
    assert get_signed(shop, image, small.FENCED, client=small.OUTSIDE).status == 403


@pytest.mark.parametrize(
    ("limit", "codes"),
    [
        ({"NetworkLimit": ["192.0.2.0/24"]}, (200, 403)),
        ({"ZoneLimit": ["north-b"]}, (403, 403)),
        ({"ZoneLimit": ["north-a"]}, (200, 200)),
    ],
)
def test_a_url_obeys_the_limits_of_the_account_that_asked_for_it(
    shop: Shop, tmp_path: Path, limit: dict[str, list[str]], codes: tuple[int, int]
) -> None:
    image = shop.publish(disk(tmp_path))
    url = shop.well("GetPHostImageDownloadUrl", {"ImageId": image}, small.ACME)["RawUrl"]
    assert [shop.gateway.fetch("GET", url, client=client).status for client in (small.INSIDE, small.OUTSIDE)] == [200, 200]

    shop.well("ModifyAccount", {"Account": "acme", **limit})

    assert tuple(shop.gateway.fetch("GET", url, client=client).status for client in (small.INSIDE, small.OUTSIDE)) == codes


# what may be had


def test_another_projects_image_is_answered_as_one_that_never_was(shop: Shop, tmp_path: Path) -> None:
    image, absent = shop.publish(disk(tmp_path), **ORG_A), "pimg-cs-neverwas"
    assert get_signed(shop, image, small.ACME).status == 200

    def said(text: bytes, id: str) -> bytes:
        return text.replace(id.encode(), b"ID")

    for pair, more in ((small.RIVAL, {}), (small.WORKER, {"ProjectId": "org-b"}), (small.ACME, {"ProjectId": "org-b"})):
        foreign, nothing = (get_signed(shop, id, pair, **more) for id in (image, absent))
        assert (foreign.status, said(foreign.body, image)) == (nothing.status, said(nothing.body, absent))
        assert foreign.status == 404
        foreign_url, nothing_url = (
            shop.ask("GetPHostImageDownloadUrl", {"ImageId": id, **more}, pair) for id in (image, absent)
        )
        assert foreign_url.ret_code == 230
        assert said(foreign_url.body, image) == said(nothing_url.body, absent)


def test_an_unavailable_image_is_handed_to_the_operator_alone(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    image = shop.publish(original)
    of_acme, of_operator = url_of(shop, image), url_of(shop, image, shop.operator)
    set_state(shop, image, State.UNAVAILABLE)

    assert shop.ask("GetPHostImageDownloadUrl", {"ImageId": image}, small.ACME).ret_code == 230
    assert (get(shop, of_acme).status, get_signed(shop, image, small.ACME).status) == (409, 409)
    assert get(shop, of_operator).body == original.read_bytes()
    assert get(shop, url_of(shop, image, shop.operator)).status == 200
    set_state(shop, image, State.AVAILABLE)
    assert get(shop, of_acme).status == 200


def test_an_image_without_bytes_is_not_published_whatever_its_state(shared_shop: Shop) -> None:
    for image in ("b-new", "b-10g", "c-a-new"):
        assert get_signed(shared_shop, image, small.ACME).status == 409
        assert shared_shop.ask("GetPHostImageDownloadUrl", {"ImageId": image}, small.ACME).ret_code == 230


def test_a_withdrawn_image_is_gone_for_who_has_its_address_and_absent_for_others(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    url = url_of(shop, image)
    shop.well("WithdrawPHostImage", {"ImageId": image})
    assert (get(shop, url).status, get_signed(shop, image, small.ACME).status) == (410, 404)
    assert shop.ask("GetPHostImageDownloadUrl", {"ImageId": image}, small.ACME).ret_code == 230


def test_a_past_catalogue_brings_no_bytes_back(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    then = shop.catalog.refresh()
    shop.well("WithdrawPHostImage", {"ImageId": image})
    past = shop.gateway.ask("GetPHostImageDownloadUrl", {"ImageId": image}, pair=small.ACME, path=f"/rev/{then}/")
    assert past.ret_code == 0
    assert get(shop, past.fields["RawUrl"]).status == 410


def test_an_operator_shows_and_downloads_what_was_published_for_a_tenant(shop: Shop, tmp_path: Path) -> None:
    original = disk(tmp_path)
    for image in (shop.publish(original, **ORG_A), shop.publish(original, small.RIVAL, ImageType="Custom")):
        for pair in (shop.operator, small.OPERATOR):  # the main user, and a sub-user without a project
            shown = shop.well("GetPHostImage", {"ImageId": image}, pair)
            assert (shown["Image"]["ImageType"], shown["Origin"]["Source"]) == ("Custom", "uploaded")
            assert get(shop, url_of(shop, image, pair)).body == original.read_bytes()
            assert get_signed(shop, image, pair, ".sha256").status == 200
            assert get_signed(shop, "pimg-cs-neverwas", pair).status == 404
            assert shop.ask("GetPHostImage", {"ImageId": "pimg-cs-neverwas"}, pair).ret_code == 230


def test_what_an_operator_shows_at_a_past_revision_is_of_then(shop: Shop) -> None:
    shop.well("UpdatePHostImage", {"ImageId": "c-r", "Name": "now"})
    then = shop.gateway.ask("GetPHostImage", {"ImageId": "c-r"}, pair=shop.operator, path=f"/rev/{shop.catalog.refresh() - 1}/")
    assert then.fields["Image"]["ImageName"] != "now"
    assert shop.well("GetPHostImage", {"ImageId": "c-r"})["Image"]["ImageName"] == "now"


def test_a_url_of_an_operator_ends_with_its_rights(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path), **ORG_A)
    url = url_of(shop, image, small.OPERATOR)
    assert get(shop, url).status == 200
    with shop.catalog.change(command_author("Test")) as change:
        [operator] = ACCOUNTS.live(change.connection, ACCOUNTS.table.c.id == "operator")
        ACCOUNTS.put(change, replace(operator, operator=False))
    shop.gateway.learn(shop.catalog.head)
    assert get(shop, url).status == 410
