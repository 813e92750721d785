"""Jobs: who sees which of them, in pages that fit together, and what remains of one that is cancelled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from phimage.catalog import jobs
from phimage.catalog.images import adopt
from phimage.chunks.uploads import leftovers
from phimage.installation import command_author
from phimage.maintenance.gc import collect_garbage
from phimage.model.ids import ImageId, JobId, ProjectId
from phimage.model.job import Origin, new_job
from tests.api import small
from tests.api.command_line import CommandLine
from tests.api.conftest import both_sites
from tests.api.publishing import ABOUT, Shop, disk
from tests.api.signer import Pair
from tests.sites import SITES

TRUSTED = {**ABOUT, "TrustFirstUse": True}
ORG_A = {"ImageType": "Custom", "ProjectId": "org-a"}


def begun(shop: Shop, **more: Any) -> tuple[str, str]:
    """A publication that waits for its upload: its job and its image."""
    fields = shop.well("PublishPHostImage", {**TRUSTED, **more})
    return fields["JobId"], fields["ImageId"]


def listed(shop: Shop, pair: Pair | None = None, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.well("ListPHostImageJobs", params, pair)["JobSet"]
    return found


def cancelled(shop: Shop, job: str, pair: Pair | None = None, **params: Any) -> dict[str, Any]:
    return shop.well("CancelPHostImageJob", {"JobId": job, **params}, pair)


@pytest.fixture
def cli(shop: Shop) -> CommandLine:
    return CommandLine(shop.gateway)


# who sees what


def test_an_operator_sees_all_jobs_and_a_tenant_those_of_the_project(shop: Shop) -> None:
    base, _ = begun(shop)
    custom, image = begun(shop, **ORG_A)

    assert {job["JobId"] for job in listed(shop)} == {base, custom}
    assert {job["JobId"] for job in listed(shop, small.OPERATOR)} == {base, custom}, "a sub-user needs no project"
    assert [job["JobId"] for job in listed(shop, ProjectId="org-a")] == [custom]
    for pair, params in ((small.ACME, {}), (small.VIEWER, {"ProjectId": "org-a"})):
        (own,) = listed(shop, pair, **params)
        assert (own["JobId"], own["ImageId"], own["ProjectId"], own["State"]) == (custom, image, "org-a", "Waiting")
        assert (own["Actor"], own["Publisher"]) == ("", ""), "another account's names are not its business"
    assert listed(shop, small.ACME, ProjectId="org-b") == []
    assert listed(shop, small.RIVAL, JobId=custom) == []
    assert shop.ask("ListPHostImageJobs", {}, small.VIEWER).ret_code == 299
    assert shop.ask("ListPHostImageJobs", {"ProjectId": "org-a"}, small.RIVAL).ret_code == 292
    assert shop.ask("ListPHostImageJobs", {"ProjectId": "org-never"}).ret_code == 292


def test_who_published_an_image_reads_why_that_failed(shop: Shop, tmp_path: Path) -> None:
    image = shop.begin(disk(tmp_path), **ORG_A, Digest=f"sha256:{'1' * 64}")
    shop.work(image)
    own = shop.well("PublishPHostImage", {**TRUSTED, **ORG_A}, small.ACME)["JobId"]
    with shop.catalog.database.write() as connection:
        jobs.end(connection, own, "no disk")

    mine, operators = listed(shop, small.ACME, State="Failed")

    assert (operators["ImageId"], operators["ImageState"]) == (image, "Unavailable")
    assert (operators["Error"], operators["Source"]) == ("an operator publishes this image and knows the reason", "")
    assert (mine["Error"], mine["Actor"], mine["Source"]) == ("no disk", mine["Actor"], "uploaded")
    assert mine["Actor"].endswith(f" {small.ACME.public}")
    assert ["sha256:1111" in job["Error"] or job["Error"] == "no disk" for job in listed(shop, State="Failed")] == [True, True]


def test_a_job_says_what_a_publisher_does_with_it(shop: Shop, tmp_path: Path) -> None:
    image = shop.begin(disk(tmp_path))
    (queued,) = listed(shop, ImageId=image)
    assert (queued["State"], queued["Claims"], queued["LeaseAge"], queued["Reserved"]) == ("Queued", 0, -1, 6 << 20)
    claimed = shop.claim(image)
    jobs.renew(shop.catalog.database, claimed, "store", 3 << 20, 6 << 20, claimed.lease_until - 30)

    (running,) = listed(shop, State="Running")

    assert (running["Phase"], running["Done"], running["Total"]) == ("store", 3 << 20, 6 << 20)
    assert (running["Claims"], running["Publisher"], running["ImageName"]) == (1, "by hand", "Debian 12")
    assert 0 <= running["LeaseAge"] <= 60
    shop.finish(claimed)
    (done,) = listed(shop, State="Done")
    assert (done["JobId"], done["ImageState"], done["Reserved"]) == (running["JobId"], "Available", 0)
    assert listed(shop, State="Unfinished") == []


# pages


@pytest.mark.parametrize(
    ("new_site", "filters"),
    [
        pytest.param(site, filters, marks=pytest.mark.more if filters and site != SITES[0] else ())
        for site in SITES
        for filters in ({}, {"State": "Unfinished"}, {"ProjectId": "org-a"}, {"State": "Failed"})
    ],
    indirect=["new_site"],
    scope="session",
    ids=str,
)
def test_pages_of_jobs_hold_each_once_in_order_while_others_are_added(shop: Shop, filters: dict[str, Any]) -> None:
    def add(number: int) -> None:
        project = "org-a" if number % 3 else ""
        job = new_job(
            JobId(f"job-{number * 7 % 23:02}"), ImageId("b-new"), Origin(), 1000.0 + number // 4, project=ProjectId(project)
        )
        jobs.add(connection, job)
        if number % 5 == 0:
            jobs.end(connection, job.id, "no disk")

    with shop.catalog.database.write() as connection:
        for number in range(20):
            add(number)
    whole = [job["JobId"] for job in listed(shop, **filters, Limit=1000)]
    assert len(whole) == {"": 20, "Unfinished": 16, "org-a": 13, "Failed": 4}["".join(filters.values())]

    for limit in (1, 3, 7):
        paged: list[str] = []
        before: dict[str, str] = {}
        while True:
            fields = shop.well("ListPHostImageJobs", {**filters, **before, "Limit": limit})
            assert len(fields["JobSet"]) <= limit
            paged += [job["JobId"] for job in fields["JobSet"]]
            if not fields["Next"]:
                break
            before = {"Before": fields["Next"]}
        assert paged == whole
    middle = whole[len(whole) // 2]
    newer = [job["JobId"] for job in listed(shop, **filters, After=middle, Limit=1000)]
    assert newer == whole[: len(whole) // 2][::-1]
    with shop.catalog.database.write() as connection:
        jobs.add(connection, new_job(JobId("job-late"), ImageId("b-new"), Origin(), 2000.0))
    assert [job["JobId"] for job in listed(shop, **filters, Before=middle, Limit=1000)] == whole[len(whole) // 2 + 1 :]


def test_a_page_begins_at_a_job_that_the_caller_may_see(shop: Shop) -> None:
    base, _ = begun(shop)
    assert shop.ask("ListPHostImageJobs", {"Before": base}, small.ACME).message == "Params [Before] not available"
    assert shop.ask("ListPHostImageJobs", {"After": "job-never"}).message == "Params [After] not available"
    assert shop.ask("ListPHostImageJobs", {"After": base, "Before": base}).ret_code == 230


# cancelling


@both_sites
def test_cancelling_ends_a_custom_image_in_one_revision_and_may_be_repeated(shop: Shop) -> None:
    shop.well("SetQuota", {"Project": "org-a", "Limit": 100})
    job, image = begun(shop, **ORG_A, Size=100)
    assert shop.ask("PublishPHostImage", {**TRUSTED, **ORG_A, "Size": 1}).ret_code == 241
    before = shop.catalog.refresh()

    first = cancelled(shop, job, small.ACME)
    again = cancelled(shop, job)

    reason = f"cancelled by acme/{small.ACME.public}"
    assert (first["Cancelled"], first["ImageState"], first["Error"]) == (True, "Unavailable", reason)
    assert (again["Cancelled"], again["ImageState"], again["Error"]) == (False, "Unavailable", reason)
    assert shop.catalog.refresh() == before + 1
    content = shop.content(image)
    assert content is not None
    assert content.failure == reason
    assert shop.ask("PublishPHostImage", {**TRUSTED, **ORG_A, "Size": 100}).ret_code == 0, "the quota is free again"


def test_cancelling_withdraws_a_base_image_unless_the_catalogue_file_names_it(shop: Shop) -> None:
    job, image = begun(shop)
    of_file, kept = begun(shop)
    with shop.catalog.change(command_author("ApplyCatalog")) as change:
        adopt(change, [ImageId(kept)])

    assert cancelled(shop, job)["ImageState"] == ""
    assert cancelled(shop, of_file)["ImageState"] == "Unavailable"

    assert shop.content(image) is None
    assert shop.content(kept) is not None
    assert [job["Error"] for job in listed(shop, State="Failed")] == ["cancelled by operator/main"] * 2


@both_sites
def test_a_publication_that_is_cancelled_while_it_runs_writes_nothing(shop: Shop, tmp_path: Path) -> None:
    image = shop.begin(disk(tmp_path), **ORG_A)
    running = shop.claim(image)
    cancelled(shop, running.id, small.ACME)
    revision = shop.catalog.refresh()

    shop.finish(running)

    assert shop.catalog.refresh() == revision
    assert not jobs.renew(shop.catalog.database, running, "store", 1, 2, running.lease_until + 1)
    (ended,) = listed(shop, ImageId=image)
    assert (ended["State"], ended["ImageState"]) == ("Failed", "Unavailable")
    content = shop.content(image)
    assert content is not None
    assert not content.stored


def test_the_parts_of_a_cancelled_upload_are_left_to_garbage_collection(shop: Shop) -> None:
    fields = shop.well("PublishPHostImage", {**TRUSTED, "Size": 1})
    shop.send(fields["UploadUrl"], b"x")
    cancelled(shop, fields["JobId"])

    assert shop.put(fields["UploadUrl"], b"x").status == 409
    assert leftovers(shop.store) == {fields["JobId"]}
    author = command_author("CollectStore")
    collect_garbage(shop.catalog, shop.store, shop.settings.work_folder, author, grace_seconds=3600)
    assert leftovers(shop.store) == set()


def test_only_who_may_change_images_in_its_project_cancels_a_job(shop: Shop, tmp_path: Path) -> None:
    job, _ = begun(shop, **ORG_A)
    other, _ = begun(shop, ImageType="Custom", ProjectId="org-b")
    assert shop.ask("CancelPHostImageJob", {"JobId": job, "ProjectId": "org-a"}, small.VIEWER).ret_code == 299
    refused = [shop.ask("CancelPHostImageJob", {"JobId": id}, small.RIVAL) for id in (job, "job-neverwasatall")]
    assert {reply.ret_code for reply in refused} == {230}
    assert len({reply.body.replace(job.encode(), b"ID").replace(b"job-neverwasatall", b"ID") for reply in refused}) == 1
    assert cancelled(shop, other, small.WORKER, ProjectId="org-b")["Cancelled"]
    assert [one["State"] for one in listed(shop, JobId=job)] == ["Waiting"]


def test_a_job_that_is_done_is_not_cancelled(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    (done,) = listed(shop, ImageId=image)
    reply = shop.ask("CancelPHostImageJob", {"JobId": done["JobId"]})
    assert (reply.ret_code, "withdraw" in reply.fields["Detail"]) == (230, True)
    content = shop.content(image)
    assert content is not None
    assert content.stored


# the command


def without_age(shown: str) -> str:
    """What is shown of a job at any time."""
    text, count = re.subn(r", \d+[smhd] ago$", "", shown, flags=re.MULTILINE)
    assert count == 1
    return text


def test_the_command_lists_one_line_a_job_within_80_columns(shop: Shop, cli: CommandLine, tmp_path: Path) -> None:
    done = shop.publish(disk(tmp_path))
    waits, image = begun(shop, **ORG_A)
    out = cli.well(shop.operator, "job", "ls")
    heading, line = out.splitlines()
    assert heading.split() == ["JOB", "IMAGE", "STATE", "PHASE", "%", "AGE", "PROJECT"]
    assert line.split()[:5] + line.split()[6:] == [waits, image, "Waiting", "-", "-", "org-a"]
    every = cli.well(shop.operator, "job", "ls", "--all").splitlines()
    assert len(every) == 3
    assert max(map(len, every)) <= 80
    assert [word in every[2] for word in (done, "Done", "100", "base")] == [True] * 4
    assert cli.well(small.ACME, "job", "ls", "--state", "failed") == "no failed publications\n"
    first = cli.run(shop.operator, "job", "ls", "--all", "-n", "1")
    assert (len(first.out.splitlines()), first.err) == (2, f"older ones: add --before {waits}\n")


def test_the_command_shows_and_cancels_a_job_by_its_id_or_its_image(shop: Shop, cli: CommandLine) -> None:
    job, image = begun(shop, **ORG_A, Size=7)
    shown = cli.well(small.ACME, "job", "show", job)
    assert without_age(cli.well(small.ACME, "job", "show", image)) == without_age(shown)
    for text in (f"job       {job}", f"image     {image}, Making", "state     Waiting", "reserves  7 bytes of the quota"):
        assert text in shown.splitlines()
    assert max(map(len, shown.splitlines())) <= 80

    ended = cli.run(small.ACME, "job", "cancel", image)
    assert (ended.code, ended.err) == (0, f"{job} is cancelled; {image} is Unavailable\n")
    again = cli.run(small.ACME, "job", "cancel", job)
    assert again.err == f"{job} had ended before: cancelled by acme/{small.ACME.public}; {image} is Unavailable\n"
    assert f"error     cancelled by acme/{small.ACME.public}" in cli.well(small.ACME, "job", "show", image)
    missing = cli.run(small.RIVAL, "job", "show", job)
    assert (missing.code, missing.err.startswith(f"phimage: there is no publication {job}: ")) == (1, True)
