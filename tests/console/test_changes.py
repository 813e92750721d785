"""Changes by forms: a dry run first, carried out once, by the rights of the session, and in the log as made via the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any

import pytest

from phimage import demo
from phimage.catalog.accounts import NewKey
from phimage.client import Client
from phimage.errors import Refused
from phimage.installation import recover_operator_key
from phimage.model.account import PrivateKey
from phimage.settings import Settings
from tests.console.visitor import Console, Visitor, console, hidden, main, revision

TENANT = NewKey(demo.PUBLIC_KEY, demo.PRIVATE_KEY)
EVIL = "<script>alert(1)</script>'\"{{ 31337 * 3 }}"
FOREIGN_IMAGE = demo.WITH_DISK


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    settings = Settings(data_dir=str(tmp_path_factory.mktemp("changes") / "data"), rate=1000)
    operator = demo.fill(settings) or recover_operator_key(settings)
    with console(settings, operator, TENANT) as found:
        yield found


@pytest.fixture
def operator(served: Console) -> Visitor:
    return served.visitor()


@pytest.fixture
def client(served: Console) -> Iterator[Client]:
    with served.client() as found:
        yield found


@pytest.fixture(scope="module")
def rival(served: Console) -> NewKey:
    """The key of another tenant."""
    with served.client() as client:
        made = client.call("CreateAccount", Account="rival", ZoneLimit=["any"], NetworkLimit=["any"]).fields
    return NewKey(made["PublicKey"], PrivateKey(made["PrivateKey"]))


def test_a_change_is_shown_first_and_changes_nothing_before_it_is_confirmed(operator: Visitor, client: Client) -> None:
    before = revision(client)
    shown = operator.look("create-user", Account="demo", User="alice", Email="a@example.com")
    assert "This is what would change" in shown.text
    assert "a@example.com" in shown.text
    assert revision(client) == before
    done = operator.confirm("create-user", shown)
    assert (done.status_code, done.headers["Location"]) == (303, "/console/accounts?done=create-user")
    assert "The user was added." in operator.get(done.headers["Location"]).text
    assert revision(client) == before + 1
    (record,) = client.call("ListRevisions", Limit=1).fields["RevisionSet"]
    assert record["Actor"] == f"operator/main {client.public_key} via console"
    assert [(change["Noun"], change["Verb"]) for change in record["Changes"]] == [("user", "added")]


def test_a_key_is_shown_once_and_the_form_makes_no_second_one(operator: Visitor, client: Client) -> None:
    shown = operator.look("create-key", Account="demo", User="main", _days="30")
    made = operator.confirm("create-key", shown)
    assert made.status_code == 200
    (private,) = re.findall(r'<code>([a-z2-7]{40})</code><button class="copy"', made.text)
    before = revision(client)
    again = operator.confirm("create-key", shown)
    assert "the nonce was used before" in again.text
    assert revision(client) == before
    keys = operator.get("/console/keys?Account=demo").text
    assert private not in keys
    public = re.search(r"phimage[a-z2-7]{32}", main(made.text))
    assert public is not None
    assert public[0] in keys


def test_a_confirmation_of_another_server_or_of_long_ago_is_refused(operator: Visitor, client: Client) -> None:
    before = revision(client)
    form = {"_token": operator.token, "_step": "go", "Account": "demo", "User": "bob"}
    for nonce in ("", "1.2.3", f"1795000000.{'0' * 32}.{'0' * 64}"):
        assert operator.post("/console/changes/create-user", {**form, "_nonce": nonce}).status_code == 400
    assert revision(client) == before


def test_what_is_lost_wants_its_id_typed(operator: Visitor, client: Client) -> None:
    made = client.call("CreateProject", Account="demo", ProjectName="Scratch").fields["ProjectId"]
    before = revision(client)
    shown = operator.look("remove-project", Account="demo", ProjectId=made)
    for typed in ("", "org-default", made.upper()):
        refused = operator.confirm("remove-project", shown, typed)
        assert "The text was another one. Nothing was changed." in refused.text
    assert revision(client) == before
    assert operator.confirm("remove-project", shown, f" {made} ").status_code == 303
    assert made not in [project["ProjectId"] for project in client.call("ListProjects", Account="demo").fields["ProjectSet"]]


def test_revoking_a_key_ends_the_sessions_that_began_with_it(served: Console, operator: Visitor, client: Client) -> None:
    made = client.call("CreateAccessKey", Account="demo", User="main", ExpireTime=0).fields
    visitor = served.visitor(NewKey(made["PublicKey"], PrivateKey(made["PrivateKey"])))
    assert operator.carry_out("revoke-key", made["PublicKey"], AccessKey=made["PublicKey"]).status_code == 303
    assert visitor.get("/console/images").status_code == 303
    own = operator.look("revoke-key", AccessKey=client.public_key)
    assert "a key cannot revoke itself" in own.text


def test_a_quota_is_set_in_gib_and_removed_by_an_empty_field(operator: Visitor, client: Client) -> None:
    operator.carry_out("set-quota", Project="org-xyz", _gib="3")
    assert ("org-xyz", 3 << 30) in quotas(client)
    operator.carry_out("set-quota", Project="org-xyz", _gib="")
    assert "org-xyz" not in dict(quotas(client))
    assert operator.look("set-quota", Project="org-xyz", _gib="many").status_code == 400
    assert "there is no project" in operator.look("set-quota", Project="org-nowhere", _gib="1").text


def quotas(client: Client) -> list[tuple[str, int]]:
    return [(quota["Project"], quota["Limit"]) for quota in client.call("ListQuotas").fields["QuotaSet"]]


def test_an_image_gets_what_differs_from_the_form_and_nothing_else(served: Console, client: Client) -> None:
    visitor, image = served.visitor(TENANT), "pimg-os-db4x9tqe"
    page = visitor.get(f"/console/images/{image}/edit").text
    ticked = re.findall(r'name="Support" value="([^"]+)"[^>]* checked', page)
    zones = re.findall(r'name="Zone" value="([^"]+)" checked', page)
    form: dict[str, Any] = {
        "ImageId": image,
        "ProjectId": "org-default",
        "Name": "mysql-primary",
        "Version": "",
        "Label": "a=1\r\nb=2",
    }
    form |= {"Support": ticked[:1], "Zone": zones}
    visitor.carry_out("edit-image", **form, _Support="1", _Zone="1")
    details = client.call("GetPHostImage", ImageId=image).fields
    assert details["Image"]["Version"] == ""
    assert details["Image"]["OsName"] == "CentOS 7.9 64位"
    assert details["Labels"] == {"a": "1", "b": "2"}
    assert [f"{run['MachineType']}:{cluster}" for run in details["Runs"] for cluster in run["Clusters"]] == ticked[:1]
    visitor.carry_out("edit-image", ImageId=image, ProjectId="org-default", Label="b=3")
    assert client.call("GetPHostImage", ImageId=image).fields["Labels"] == {"b": "3"}
    visitor.carry_out("deprecate-image", ImageId=image, ProjectId="org-default", Deprecated="true")
    assert client.call("GetPHostImage", ImageId=image).fields["Deprecated"] is True


def test_an_image_keeps_the_places_for_which_its_form_has_no_box(served: Console, client: Client) -> None:
    """An account may lose a zone in which its images are."""
    image, zones = "pimg-os-ci6h3wzn", [demo.ZONE, "cn-sh2-02"]
    client.call("UpdatePHostImage", ImageId=image, Zone=zones)
    client.call("ModifyAccount", Account="demo", ZoneLimit=[demo.ZONE], NetworkLimit=["any"])
    try:
        visitor = served.visitor(TENANT)
        page = visitor.get(f"/console/images/{image}/edit").text
        form: dict[str, Any] = {"ImageId": image, "ProjectId": "org-default", "Name": "renamed", "_Zone": "1", "_Support": "1"}
        form |= {"Zone": re.findall(r'name="Zone" value="([^"]+)" checked', page)}
        form |= {"Support": re.findall(r'name="Support" value="([^"]+)"[^>]* checked', page)}
        assert form["Zone"] == zones[:1]
        assert visitor.carry_out("edit-image", **form).status_code == 303
    finally:
        client.call("ModifyAccount", Account="demo", ZoneLimit=["any"], NetworkLimit=["any"])
    details = client.call("GetPHostImage", ImageId=image).fields
    assert (details["Image"]["ImageName"], details["Zones"]) == ("renamed", zones)


def test_a_change_is_carried_out_as_it_was_shown_and_else_shown_again(served: Console, client: Client) -> None:
    """Somebody else may change the record between the dry run and its confirmation."""
    visitor, image = served.visitor(TENANT), "pimg-os-ci6h3wzn"
    form = {"ImageId": image, "ProjectId": "org-default", "Version": "v2.0", "Description": "custom image of the demonstration"}
    shown = visitor.look("edit-image", **form)
    client.call("UpdatePHostImage", ImageId=image, Description="said by somebody else")
    before = revision(client)
    again = visitor.confirm("edit-image", shown)
    assert "Something else was changed meanwhile" in again.text
    assert "<del>said by somebody else</del>" in again.text
    assert revision(client) == before
    assert visitor.confirm("edit-image", again).status_code == 303
    details = client.call("GetPHostImage", ImageId=image).fields["Image"]
    assert (details["Version"], details["ImageDescription"]) == ("v2.0", "custom image of the demonstration")


def test_a_publication_begins_as_it_was_shown_and_else_is_shown_again(served: Console, client: Client) -> None:
    """Without scripts, and while an answer is on its way, the form can be changed below the dry run."""
    visitor = served.visitor(TENANT)
    form = {
        "_token": visitor.token,
        "Token": "console-shown",
        "_from": "file",
        "_verify": "trust",
        "ImageType": "Custom",
        "Name": "shown",
        "OsType": "Debian",
        "OsName": "Debian 12",
        "ProjectId": "org-xyz",
        "Zone": demo.ZONE,
        "Support": "DB-2:10G",
        "FileName": "a.raw",
        "Size": "8388608",
    }
    shown = visitor.post("/console/publish", {**form, "_step": "look"})
    before, confirmed = revision(client), {**form, **hidden(outcome(shown.text)), "_step": "go"}
    again = visitor.post("/console/publish", {**confirmed, "Name": "not shown"})
    assert "The form is another one than that of the dry run" in again.text
    assert "<ins>not shown</ins>" in again.text
    assert revision(client) == before
    begun = visitor.post("/console/publish", {**confirmed, **hidden(outcome(again.text)), "Name": "not shown"})
    assert begun.status_code == 303
    assert revision(client) == before + 1


def outcome(page: str) -> str:
    return page.partition('id="outcome"')[2]


def test_an_image_is_removed_by_its_tenant_after_its_id_was_typed(served: Console, client: Client) -> None:
    place = {"Region": demo.REGION, "Zone": demo.ZONE, "ProjectId": "org-xyz"}
    visitor = served.visitor(TENANT)
    visitor.carry_out("terminate-image", "pimg-os-old5r7uc", ImageId="pimg-os-old5r7uc", **place)
    with pytest.raises(Refused):
        client.call("GetPHostImage", ImageId="pimg-os-old5r7uc")


PAGES_OF_OTHERS = ("images/{}", "images/{}/edit", "images/{}/why", "images/{}/download/raw", "jobs/{}")


@pytest.mark.parametrize("page", PAGES_OF_OTHERS)
def test_a_tenant_sees_on_the_ids_of_another_the_page_for_absent_ids(
    served: Console, client: Client, rival: NewKey, page: str
) -> None:
    visitor = served.visitor(rival)
    if page.startswith("jobs"):
        foreign = client.call("ListPHostImageJobs", Limit=1).fields["JobSet"][0]["JobId"]
        absent = "job-" + "a" * (len(foreign) - 4)
    else:
        foreign, absent = FOREIGN_IMAGE, "pimg-os-absent22"
    seen, nothing = visitor.get(f"/console/{page.format(foreign)}"), visitor.get(f"/console/{page.format(absent)}")
    assert seen.status_code == nothing.status_code
    assert same(seen.text, foreign) == same(nothing.text, absent)
    assert "web-frontend" not in seen.text


def same(page: str, id: str) -> str:
    """A page without what differs between two requests anyway."""
    return re.sub(r"[0-9a-f-]{36}|revision [\d,]+", "*", page.replace(id, "ID"))


CHANGES_OF_OTHERS: dict[str, dict[str, str]] = {
    "edit-image": {"ImageId": FOREIGN_IMAGE, "Name": "mine"},
    "deprecate-image": {"ImageId": FOREIGN_IMAGE, "Deprecated": "true"},
    "terminate-image": {"ImageId": FOREIGN_IMAGE, "Region": demo.REGION, "Zone": demo.ZONE},
    "withdraw-image": {"ImageId": FOREIGN_IMAGE},
    "create-account": {"Account": "mine"},
    "modify-account": {"Account": "demo"},
    "create-user": {"Account": "demo", "User": "mine"},
    "create-key": {"Account": "demo", "User": "main"},
    "revoke-key": {"AccessKey": str(TENANT.public)},
    "set-quota": {"Project": "org-default", "_gib": "1"},
    "cancel-job": {"JobId": "job-aaaaaaaaaaaa"},
}


@pytest.mark.parametrize("name", CHANGES_OF_OTHERS)
def test_a_tenant_changes_nothing_of_others_nor_what_is_the_operators(
    served: Console, client: Client, rival: NewKey, name: str
) -> None:
    visitor, before = served.visitor(rival), revision(client)
    shown = visitor.look(name, **CHANGES_OF_OTHERS[name])
    assert shown.status_code in (400, 404)
    form = {"_token": visitor.token, "_step": "go", "_nonce": "1.1.1", "_typed": FOREIGN_IMAGE}
    assert visitor.post(f"/console/changes/{name}", {**form, **CHANGES_OF_OTHERS[name]}).status_code in (400, 404)
    assert revision(client) == before


@pytest.mark.parametrize("path", ["accounts", "accounts/demo", "keys", "quotas", "log", "store"])
def test_pages_of_operators_refuse_a_tenant(served: Console, path: str) -> None:
    page = served.visitor(TENANT).get(f"/console/{path}")
    assert page.status_code == 403
    assert "You may not do this" in page.text
    assert f'href="/console/{path.partition("/")[0]}"' not in page.text


def test_texts_of_people_stay_texts(operator: Visitor, client: Client, served: Console) -> None:
    client.call("CreateAccount", Account="evil", Company=EVIL, Email=EVIL, ZoneLimit=["any"], NetworkLimit=["any"])
    client.call("CreateProject", Account="evil", ProjectName=EVIL)
    image = client.call(
        "PublishPHostImage",
        ImageType="Base",
        Name=EVIL,
        OsType="Debian",
        OsName=EVIL,
        Version=EVIL,
        Description=EVIL,
        Label=[f"a={EVIL}"],
        FileName=EVIL,
        Zone=[demo.ZONE],
        Support=["DB-2"],
        TrustFirstUse=True,
    ).fields
    paths = ("accounts", "accounts/evil", "projects?Account=evil", "jobs", f"jobs/{image['JobId']}")
    of_image = (f"images/{image['ImageId']}", f"images/{image['ImageId']}/edit", f"publish?q={EVIL}")
    for page in (operator.get(f"/console/{path}") for path in (*paths, *of_image)):
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "94011" not in page.text
    tried = operator.look("create-user", Account="demo", User=EVIL, _back=EVIL)
    assert "<script>alert" not in tried.text
    assert escape(EVIL) in operator.get("/console/accounts/evil").text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")
    assert 'href="/console/"' in tried.text  # the page to return to is one of the console
