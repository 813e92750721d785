"""What is taken out of an account is gone at once, and what must stay cannot be taken out."""

from __future__ import annotations

import pytest

from tests.api import small
from tests.api.conftest import Start
from tests.sites import Site

NORTH_A = {"Region": "north", "Zone": "north-a", "ProjectId": "org-a"}


def test_a_removed_users_keys_work_no_longer_and_its_roles_are_gone(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    assert gateway.ask("DescribePHostImage", NORTH_A, pair=small.VIEWER).ret_code == 0
    removed = gateway.ask("RemoveUser", {"Account": "acme", "User": small.VIEWER.public}, pair=small.OPERATOR)
    assert removed.ret_code == 0, removed.fields
    assert gateway.ask("DescribePHostImage", NORTH_A, pair=small.VIEWER).ret_code == 172
    projects = gateway.ask("ListProjects", {"Account": "acme"}, pair=small.OPERATOR).fields["ProjectSet"]
    assert all(small.VIEWER.public not in project["Members"] for project in projects)
    assert gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME).ret_code == 0


def test_the_main_user_cannot_be_removed(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    reply = gateway.ask("RemoveUser", {"Account": "acme", "User": small.ACME.public}, pair=small.OPERATOR)
    assert (reply.ret_code, reply.message) == (230, "Params [User] not available")


def test_an_empty_project_can_be_removed(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    made = gateway.ask("CreateProject", {"Account": "acme", "ProjectName": "Short"}, pair=small.OPERATOR).fields["ProjectId"]
    member = {"Account": "acme", "ProjectId": made, "User": small.VIEWER.public, "Role": "viewer"}
    assert gateway.ask("SetProjectMember", member, pair=small.OPERATOR).ret_code == 0
    assert gateway.ask("SetQuota", {"Project": made, "Limit": 1 << 40}, pair=small.OPERATOR).ret_code == 0
    assert gateway.ask("RemoveProject", {"Account": "acme", "ProjectId": made}, pair=small.OPERATOR).ret_code == 0
    assert gateway.ask("ListQuotas", pair=small.OPERATOR).fields["QuotaSet"] == [], "nobody could remove it any more"
    assert gateway.ask("DescribePHostImage", {**NORTH_A, "ProjectId": made}, pair=small.ACME).ret_code == 292


@pytest.mark.parametrize(("project", "why"), [("org-a", "default"), ("org-b", "1 custom images"), ("org-r", "no such project")])
def test_a_project_that_is_needed_cannot_be_removed(start: Start, small_site: Site, project: str, why: str) -> None:
    reply = start(small_site).ask("RemoveProject", {"Account": "acme", "ProjectId": project}, pair=small.OPERATOR)
    assert (reply.ret_code, reply.message) == (230, "Params [ProjectId] not available")
    assert why in reply.fields["Detail"]
