"""The list, through the official SDK, against the demonstration."""

from __future__ import annotations

from typing import Any

import pytest
from ucloud.core import exc

from tests.e2e import naive
from tests.e2e.conftest import Installation, Sdk
from tests.e2e.process import Server

ZONE = "cn-bj2-02"
IDS = ["pimg-os-web7k2ma", "pimg-cs-hbiw5o", "pimg-ub-bm8wcc"]


@pytest.fixture
def client(demo: Server, sdk: Sdk) -> Any:
    return sdk(demo.url, project_id="org-default")


def rows(answer: Any) -> list[dict[str, Any]]:
    return [naive.comparable(row) for row in answer["ImageSet"]]


def test_a_typed_call_answers_the_first_twenty_images_with_every_field_decoded(client: Any) -> None:
    answer = client.uphost().describe_phost_image({"Zone": ZONE})
    expected = naive.listed()
    assert answer["TotalCount"] == len(expected) > 25
    assert rows(answer) == expected[:20]


def test_the_sdk_decodes_every_field_to_the_type_that_it_documents(client: Any) -> None:
    images = client.uphost().describe_phost_image({"Zone": ZONE, "Limit": 100})["ImageSet"]
    kinds = {"CreateTime": int, "ImageSize": int, "Support": list}
    texts = ("ImageId", "ImageName", "OsName", "OsType", "Version", "ImageType", "State", "ImageDescription")
    for image in images:
        assert {name: type(value) for name, value in image.items()} == {**kinds, **dict.fromkeys(texts, str)}
        assert all(type(kind) is str for kind in image["Support"])
        assert image["CreateTime"] > 1_000_000_000
    assert {image["State"] for image in images} == {"Available", "Making", "Unavailable"}
    assert any(image["Support"] for image in images)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"ImageType": "Base"}, {"kind": "Base"}),
        ({"ImageType": "base"}, {"kind": "Base"}),
        ({"ImageType": "BASE"}, {"kind": "Base"}),
        ({"ImageType": "Custom"}, {"kind": "Custom"}),
        ({"ImageType": "cUSTOM"}, {"kind": "Custom"}),
        ({"ImageType": ""}, {}),
        ({"ImageId": IDS}, {"ids": IDS}),
        ({"ImageId": [*IDS, "pimg-cs-nowhere"]}, {"ids": IDS}),
        ({"ImageId": ["pimg-cs-nowhere"]}, {"ids": ["pimg-cs-nowhere"]}),
        ({"ImageId": ["pimg-os-lab2v8pd"]}, {"ids": ["pimg-os-lab2v8pd"]}),
        ({"ImageId": IDS, "ImageType": "Base"}, {"ids": IDS, "kind": "Base"}),
        ({"MachineType": "Base-SSD-V5"}, {"machine_type": "Base-SSD-V5"}),
        ({"MachineType": "DB-2"}, {"machine_type": "DB-2"}),
        ({"MachineType": "DB-2", "ImageType": "Custom"}, {"machine_type": "DB-2", "kind": "Custom"}),
        ({"MachineType": "DB-2", "ImageId": IDS}, {"machine_type": "DB-2", "ids": IDS}),
    ],
)
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "invoke"])
def test_each_filter_lists_what_a_naive_reading_of_the_catalogue_lists(
    client: Any, typed: bool, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    parameters = {"Zone": ZONE, "Limit": 100, **asked}
    answer = client.uphost().describe_phost_image(parameters) if typed else client.invoke("DescribePHostImage", parameters)
    found = answer["ImageSet"]
    if not typed:  # as it came: with its envelope, and the time as digits
        assert (answer["RetCode"], answer["Action"]) == (0, "DescribePHostImageResponse")
        found = [{**row, "CreateTime": int(row["CreateTime"])} for row in found]
    assert [naive.comparable(row) for row in found] == naive.listed(**expected)
    assert answer["TotalCount"] == len(found)


@pytest.mark.parametrize("cluster", ["1G", "10G", "25G"])
@pytest.mark.parametrize("machine_type", ["DB-2", "Base-SSD-V5", "BM.Base.I7.M1", None])
def test_a_cluster_narrows_the_list_with_and_without_a_machine_type(
    client: Any, machine_type: str | None, cluster: str
) -> None:
    # The SDK's typed call has no Cluster and leaves it out silently.
    parameters = {"Zone": ZONE, "Limit": 100, "Cluster": cluster, "MachineType": machine_type}
    answer = client.invoke("DescribePHostImage", parameters)
    expected = [row["ImageId"] for row in naive.listed(machine_type=machine_type, cluster=cluster)]
    assert [row["ImageId"] for row in answer["ImageSet"]] == expected


def test_the_clusters_of_the_demonstration_tell_images_apart() -> None:
    lists = {
        (kind, cluster): len(naive.listed(machine_type=kind, cluster=cluster))
        for kind in ("Base-SSD-V5", "DB-2", None)
        for cluster in ("1G", "10G", "25G")
    }
    assert lists["Base-SSD-V5", "1G"] == lists["DB-2", "25G"] == 0
    assert lists["Base-SSD-V5", "10G"] != lists["Base-SSD-V5", "25G"]
    assert 0 < lists["DB-2", "1G"] < lists["DB-2", "10G"]
    assert len(naive.listed(machine_type="Base-SSD-V5")) == lists["Base-SSD-V5", "25G"]
    assert len(naive.listed(machine_type="DB-2")) >= lists["DB-2", "10G"]


@pytest.mark.parametrize(
    ("region", "zone"), [("cn-bj2", "cn-bj2-03"), ("cn-bj2", "cn-bj2-05"), ("hk", "hk-02"), ("sg", "sg-01")]
)
def test_every_zone_has_its_own_list_and_support(client: Any, region: str, zone: str) -> None:
    answer = client.uphost().describe_phost_image({"Region": region, "Zone": zone, "Limit": 100})
    assert rows(answer) == naive.listed(zone=zone)


@pytest.mark.parametrize("size", [1, 7, 20, 22, 100])
def test_pages_of_any_size_go_through_the_whole_catalogue_without_a_gap_or_a_repeat(client: Any, size: int) -> None:
    found: list[dict[str, Any]] = []
    expected = naive.listed()
    for offset in range(0, len(expected) + size, size):
        page = client.uphost().describe_phost_image({"Zone": ZONE, "Offset": offset, "Limit": size})
        assert page["TotalCount"] == len(expected)
        assert len(page["ImageSet"]) == max(0, min(size, len(expected) - offset))
        found += rows(page)
    assert found == expected


@pytest.mark.parametrize("asked", [{"Limit": 0}, {"Limit": 0, "Offset": 3}, {"Offset": 1000}, {"Offset": 2_147_483_647}])
def test_a_page_of_nothing_still_counts_what_there_is(client: Any, asked: dict[str, int]) -> None:
    answer = client.uphost().describe_phost_image({"Zone": ZONE, **asked})
    assert (answer["ImageSet"], answer["TotalCount"]) == ([], len(naive.listed()))


@pytest.mark.parametrize(("project", "other"), [("org-default", "org-xyz"), ("org-xyz", "org-default")])
def test_a_project_sees_its_own_custom_images_and_no_others(demo: Server, sdk: Sdk, project: str, other: str) -> None:
    client = sdk(demo.url, project_id=project)
    own = [image["id"] for image in naive.CUSTOM if image["project"] == project]
    theirs = [image["id"] for image in naive.CUSTOM if image["project"] == other]
    answer = client.uphost().describe_phost_image({"Zone": ZONE, "Limit": 100})
    assert rows(answer) == naive.listed(project)
    assert [row["ImageId"] for row in answer["ImageSet"] if row["ImageType"] == "Custom"] == own
    asked = client.uphost().describe_phost_image({"Zone": ZONE, "ImageId": [*own, *theirs]})
    assert [row["ImageId"] for row in asked["ImageSet"]] == own


def test_without_a_project_the_list_is_that_of_the_default_project(demo: Server, sdk: Sdk) -> None:
    answer = sdk(demo.url).uphost().describe_phost_image({"Zone": ZONE, "Limit": 100})
    assert rows(answer) == naive.listed("org-default")


def test_the_sdk_decodes_the_regions_the_projects_and_the_user(client: Any) -> None:
    account = client.uaccount()
    regions = account.get_region()["Regions"]
    assert [row["Zone"] for row in regions if row["IsDefault"]] == [ZONE]
    assert len(regions) == sum(len(region["zones"]) for region in naive.STARTER["regions"])
    projects = account.get_project_list()["ProjectSet"]
    assert [(row["ProjectId"], row["IsDefault"], row["ResourceCount"]) for row in projects] == [
        ("org-default", True, 3),
        ("org-xyz", False, 2),
    ]
    assert [row["UserEmail"] for row in account.get_user_info()["DataSet"]] == ["someone@example.com"]


def test_an_installation_lists_its_starter_catalogue_on_every_database(installation: Installation, sdk: Sdk) -> None:
    starter = naive.listed(project="")
    loaded = sdk(f"{installation.url}/rev/2", installation.key).uphost().describe_phost_image({"Zone": ZONE, "Limit": 100})
    assert rows(loaded) == starter
    now = sdk(installation.url, installation.key).uphost().describe_phost_image({"Zone": ZONE, "Limit": 1000})
    assert [row for row in rows(now) if row in starter] == starter  # other tests publish more


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("GetPHostImage", {"ImageId": IDS[0]}),
        ("ExplainPHostImage", {"ImageId": IDS[0]}),
        ("ListPHostImageChanges", {"After": 1}),
        ("GetPHostImageDownloadUrl", {"ImageId": IDS[0]}),
        ("DescribePHostMachineType", {}),
        ("GetRegion", {}),
        ("GetUserInfo", {}),
    ],
)
def test_what_a_tenant_reads_needs_no_other_signature_than_the_sdks(client: Any, action: str, more: dict[str, Any]) -> None:
    answer = client.invoke(action, {"Zone": ZONE, **more})
    assert (answer["RetCode"], answer["Action"]) == (0, f"{action}Response")


def test_what_operators_do_needs_version_2(client: Any) -> None:
    with pytest.raises(exc.RetCodeException) as refused:
        client.invoke("ListAccounts", {})
    assert refused.value.code == 299
