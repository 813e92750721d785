"""Hosts at the console: who sees them, and what is ordered of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phimage import demo
from phimage.catalog.accounts import NewKey
from phimage.installation import recover_operator_key
from phimage.settings import Settings
from tests.console.host_rows import STOPPED, add_stopped_host, leave_dirty, remove_stopped_host
from tests.console.visitor import Console, console, main

TENANT = NewKey(demo.PUBLIC_KEY, demo.PRIVATE_KEY)
PLACE = {"PHostId": STOPPED, "Region": demo.REGION, "Zone": demo.ZONE, "ProjectId": "org-default"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    settings = Settings(data_dir=str(tmp_path_factory.mktemp("hosts") / "data"), rate=1000)
    operator = demo.fill(settings) or recover_operator_key(settings)
    with console(settings, operator, TENANT) as found:
        yield found


@pytest.fixture
def stopped(served: Console) -> Iterator[None]:
    """A host that waits in rescue, for one test."""
    add_stopped_host(served.settings)
    yield
    remove_stopped_host(served.settings)


@pytest.mark.usefixtures("stopped")
def test_a_project_sees_its_host_and_another_project_the_page_for_absent_ones(served: Console) -> None:
    visitor = served.visitor(TENANT)
    assert "web-7" in visitor.get("/console/hosts").text
    page = visitor.get(f"/console/hosts/{STOPPED}").text
    assert "Stopped, in rescue" in page
    assert "192.0.2.77" not in page
    assert "192.0.2.77" in served.visitor().get(f"/console/hosts/{STOPPED}").text
    for id in (STOPPED, "upm-absent22"):
        assert visitor.get(f"/console/hosts/{id}?ProjectId=org-xyz").status_code == 404
    assert "web-7" in visitor.get(f"/console/images/{demo.WITH_DISK}").text


@pytest.mark.usefixtures("stopped")
def test_withdrawing_an_image_names_the_hosts_that_run_it(served: Console) -> None:
    shown = served.visitor().look("withdraw-image", ImageId=demo.WITH_DISK)
    assert "1 host runs it and keeps its disk:" in shown.text
    assert "web-7" in main(shown.text)


def test_a_host_is_registered_with_a_token_that_is_shown_once(served: Console) -> None:
    visitor = served.visitor()
    form = {"Zone": demo.ZONE, "MachineType": "DB-2", "Cluster": "10G", "SerialNumber": "SN-8", "Disk": "serial:S8"}
    made = visitor.carry_out("register-host", **form, Mac="aa:bb:cc:dd:ee:08\r\naa:bb:cc:dd:ee:09")
    assert made.status_code == 200
    assert "The token is shown only now." in made.text
    with served.client() as client:
        (host,) = [host for host in client.call("ListHosts").fields["HostSet"] if host["SerialNumber"] == "SN-8"]
    assert host["Mac"] == ["aa:bb:cc:dd:ee:08", "aa:bb:cc:dd:ee:09"]
    assert visitor.carry_out("remove-host", host["PHostId"], PHostId=host["PHostId"]).status_code == 303


@pytest.mark.usefixtures("stopped")
def test_a_capture_and_a_reinstallation_are_orders_to_the_agent(served: Console) -> None:
    visitor = served.visitor(TENANT)
    tried = visitor.look("reinstall-host", ImageId=demo.WITH_DISK, **PLACE)
    assert "Rescue" in tried.text
    assert "Deploying" in tried.text
    assert visitor.confirm("reinstall-host", tried, "upm-other").status_code == 200
    visitor.carry_out("capture-host", ImageName="golden", **PLACE)
    page = visitor.get(f"/console/hosts/{STOPPED}").text
    assert "An image is being made" in page
    assert "It waits for the agent." in page
    assert "every 2s" in page
    again = visitor.look("reinstall-host", ImageId=demo.WITH_DISK, **PLACE)
    assert again.status_code == 400
    operator = served.visitor()
    operator.carry_out("release-host", STOPPED, PHostId=STOPPED)
    assert visitor.get(f"/console/hosts/{STOPPED}").status_code == 404
    page = operator.get(f"/console/hosts/{STOPPED}").text
    assert "The disk is being cleaned" in page
    assert "changes/release-host" not in page
    leave_dirty(served.settings)
    page = operator.get(f"/console/hosts/{STOPPED}").text
    assert "changes/release-host" in page  # to try again
    assert "changes/remove-host" in page
