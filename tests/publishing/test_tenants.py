"""Publications of tenants: what their URLs reach, and which reasons of a failure they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.formats.limits import DiskLimits
from phimage.model.ids import AccountId, ImageId, JobId, ProjectId
from phimage.model.job import JobState, Origin, new_job
from phimage.publishing.original import fetch_file
from phimage.publishing.pipeline import Pipeline
from phimage.publishing.worker import Worker
from phimage.sources.address_policy import PUBLIC_INTERNET, read_address_policy
from phimage.sources.errors import UrlRefused
from phimage.sources.fetch import Fetcher
from phimage.sources.http import HttpClient
from phimage.sources.url import read_url
from tests.publishing.shop import Shop, disk
from tests.unit.sources.server import FileServed, Server

ACME = AccountId("acme")


def test_a_tenants_url_does_not_reach_what_the_settings_allow_to_operators(catalog: Catalog, tmp_path: Path) -> None:
    allowed = read_address_policy(["127.0.0.0/8"], [])
    shop = Shop(catalog, MemoryStore(), tmp_path / "work", policy=allowed)
    with Server(FileServed(disk(tmp_path).read_bytes()), "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.port}/disk.raw"
        shop.begin_url(url, 1, tenant=ACME)
        assert "is not allowed" in shop.work_once().error
        shop.begin_url("http://images.example/disk.raw", 2, tenant=ACME, checksum_url=url)
        assert "is not allowed" in shop.work_once().error
        assert server.connections == 0
        shop.begin_url(url, 3)
        assert shop.work_once().state is JobState.DONE


@pytest.mark.parametrize("addresses", [["10.1.2.3"], ["1.1.1.1", "127.0.0.1"], ["169.254.169.254"], ["fd00::1"], []], ids=str)
def test_a_tenant_does_not_read_which_names_exist_inside_and_where(addresses: list[str]) -> None:
    url = read_url("http://registry.internal/disk.raw")
    with pytest.raises(UrlRefused) as refused:
        PUBLIC_INTERNET.resolve(url, lambda host, port: addresses)
    remedy = "give another URL, or download the file and publish that"
    assert str(refused.value) == f"{url.text}: registry.internal is not on the public internet; {remedy}"


def test_a_redirect_of_a_tenants_url_obeys_the_same_policy() -> None:
    url = read_url("https://images.example/disk.raw").join("http://10.1.2.3/disk.raw")
    with pytest.raises(UrlRefused):
        PUBLIC_INTERNET.resolve(url, lambda host, port: [])


def test_a_reason_that_lies_in_the_installation_is_for_its_operator(catalog: Catalog, tmp_path: Path) -> None:
    shop = Shop(catalog, MemoryStore(), tmp_path / "work")
    fetcher = Fetcher(HttpClient(PUBLIC_INTERNET))
    full = Pipeline(shop.store, fetcher, shop.work, DiskLimits(), 1 << 60, tenants_fetcher=fetcher)
    shop.worker = Worker(catalog, shop.store, full, "worker", shop.stop)
    for number, tenant in enumerate((ACME, AccountId("")), 1):
        begun = shop.begin(disk(tmp_path), number, tenant=tenant)
        error, recorded = shop.work_once().error, shop.content(begun.image).failure
        assert str(shop.work) in recorded
        assert error == (f"an error inside phimage; ask its operator, whose log has the id {begun.id}" if tenant else recorded)


def test_what_is_left_of_a_fetch_is_resumed_by_its_owner_alone(tmp_path: Path) -> None:
    url = "https://images.example/disk.raw"
    files = {
        fetch_file(
            tmp_path,
            new_job(
                JobId("job-1"),
                ImageId("pimg-cs-one"),
                Origin(url=url, tenant=AccountId(tenant)),
                0,
                project=ProjectId(project),
                token="one",
            ),
        )
        for tenant, project in (("", ""), ("", "org-a"), ("acme", "org-a"), ("acme", "org-b"), ("rival", "org-r"))
    }
    assert len(files) == 4
