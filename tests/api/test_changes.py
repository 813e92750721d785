"""What a revision changed: every field before and since, in pages, and never a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES, adopt
from phimage.catalog.places import OFFERS
from phimage.catalog.revisions import PUBLISHER, Change
from phimage.cli.changes import ASCII, UNICODE, cells, change_lines
from phimage.installation import command_author
from phimage.model.ids import ImageId
from phimage.model.image_bytes import ImageBytes
from tests import examples
from tests.api import small
from tests.api.command_line import CommandLine
from tests.api.conftest import both_sites
from tests.api.publishing import Shop, disk


def changed(shop: Shop, revision: int | None = None, **params: Any) -> list[dict[str, Any]]:
    """The changes of a revision, by default the newest."""
    number = revision or shop.catalog.refresh()
    found: list[dict[str, Any]] = shop.well("GetRevision", {"Revision": number, "Limit": 1000, **params})["Revision"]["Changes"]
    return found


def image_now(change: Change, id: str) -> Any:
    return IMAGES.find(change.connection, ImageId(id))


def written(shop: Shop, change_image: Any) -> int:
    """Write one revision, and return it once the gateway knows it."""
    with shop.catalog.change(command_author("Test")) as change:
        change_image(change)
    shop.gateway.learn(change.number)
    return change.number


def field(name: str, old: str = "", new: str = "", added: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> Any:
    return {"Field": name, "Old": old, "New": new, "Added": list(added), "Removed": list(removed)}


@both_sites
def test_a_changed_record_has_its_fields_before_and_since(shop: Shop) -> None:
    def change_two(change: Change) -> None:
        image = image_now(change, "b-new")
        new = replace(image, description="good", deprecated=True, zones=("north-b", "south-a"))
        IMAGES.put(change, replace(new, support={"Both": ("10G",), "Slow": ("10G", "1G")}))
        OFFERS.put(change, examples.offer("Both", "north-a", "10G", 7))
        IMAGES.withdraw(change, image_now(change, "b-old"))
        adopt(change, [ImageId("b-far")])

    revision = written(shop, change_two)
    later = written(shop, lambda change: IMAGES.put(change, replace(image_now(change, "b-new"), description="better")))

    first, offer, gone, adopted = changed(shop, revision)
    assert (first["Noun"], first["Id"], first["Verb"]) == ("image", "b-new", "changed")
    assert first["Fields"] == [
        field("description", "", "good"),
        field("deprecated", "false", "true"),
        field("zones", added=("south-a",), removed=("north-a",)),
        field("support", added=("Slow:1G",), removed=("Both:25G",)),
    ]
    assert (offer["Id"], offer["Fields"]) == ("Both/north-a/10G", [field("stock", "2", "7")])
    assert (gone["Verb"], gone["Id"]) == ("withdrawn", "b-old")
    assert field("deprecated", "true") in gone["Fields"]
    assert (adopted["Verb"], adopted["Fields"]) == ("adopted", [])
    assert changed(shop, later)[0]["Fields"] == [field("description", "good", "better")]
    assert changed(shop, revision)[0]["Fields"] == first["Fields"], "a revision stays as it was"


def test_the_pages_of_a_large_revision_fit_together(shop: Shop) -> None:
    def add_many(change: Change) -> None:
        IMAGES.add_all(change, [examples.image(f"pimg-{number}", name=f"image {number}") for number in range(1500)])

    revision = written(shop, add_many)
    whole = shop.well("GetRevision", {"Revision": revision, "Limit": 1000})["Revision"]
    assert (whole["TotalCount"], len(whole["Changes"])) == (1500, 1000)
    rest = changed(shop, revision, Offset=1000)
    assert [one["Id"] for one in (*whole["Changes"], *rest)] == [f"pimg-{number}" for number in range(1500)]
    assert all(field("name", "", f"image {1000 + at}") in one["Fields"] for at, one in enumerate(rest))
    assert changed(shop, revision, Offset=1500) == []


def test_no_secret_is_among_the_fields(shop: Shop) -> None:
    made = shop.well("CreateAccount", {"Account": "new", "ZoneLimit": ["any"], "NetworkLimit": ["any"]})
    keys = [one for one in changed(shop) if one["Noun"] == "key"]
    assert [(one["Id"], one["Verb"]) for one in keys] == [(made["PublicKey"], "added")]
    assert {one["Field"] for one in keys[0]["Fields"]} == {"account", "user", "created", "expires"}
    shop.well("RevokeAccessKey", {"AccessKey": made["PublicKey"]})
    (revoked,) = changed(shop)
    assert {one["Field"] for one in revoked["Fields"]} == {"account", "user", "created", "expires"}

    source = "https://robot:hunter2@mirror.example/x.raw?token=hunter3"
    written(shop, lambda change: IMAGE_BYTES.put(change, ImageBytes(ImageId("b-new"), examples.image().project, source=source)))
    assert field("source", "", "https://***@mirror.example/x.raw?token=***") in changed(shop)[0]["Fields"]
    answer = str([changed(shop, number) for number in range(1, shop.catalog.head + 1)])
    for secret in ("encrypted", "hunter", made["PrivateKey"]):
        assert secret not in answer


def test_only_an_operator_reads_what_a_revision_changed_and_only_one_that_exists(shop: Shop) -> None:
    assert shop.ask("GetRevision", {"Revision": 1}, small.ACME).ret_code == 299
    missing = shop.ask("GetRevision", {"Revision": shop.catalog.head + 1})
    assert (missing.message, "newest revision" in missing.fields["Detail"]) == ("Params [Revision] not available", True)
    assert shop.ask("GetRevision", {"Revision": 0}).ret_code == 230


# the command


def test_the_command_shows_one_line_a_field_within_80_columns(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phimage.cli.output.PIPE_WIDTH", 80)
    long = "word " * 200

    def change(change: Change) -> None:
        image = image_now(change, "b-new")
        IMAGES.put(change, replace(image, description=long + "end", name="a \u202e b", zones=("north-a", "south-a")))
        IMAGES.add_all(change, [examples.image("pimg-new", name="New")])
        IMAGES.withdraw(change, image_now(change, "b-old"))

    before = written(shop, lambda change: IMAGES.put(change, replace(image_now(change, "b-new"), description=long + "END")))
    revision = written(shop, change)
    cli = CommandLine(shop.gateway)

    out = cli.well(shop.operator, "log", str(revision))

    heading, by, *lines = out.splitlines()
    assert (heading.split()[:2], heading.split()[-1]) == (["revision", str(revision)], "Test")
    assert by == "  by command line from local"
    assert lines == [
        '  image b-new  name: "CentOS 7.9 64位" → "a \\u202e b"',
        '  image b-new  description: "... word word word END" → "... word word word end"',
        "  image b-new  zones: +south-a -north-b",
        '  image pimg-new  added  name "New", type "Base", state "Available"',
        '  image b-old  withdrawn  name "CentOS 7.9 64位", type "Base", state "Available"',
    ]
    assert max(map(len, out.splitlines())) <= 80
    both = cli.well(shop.operator, "log", "--changes", "--after", str(before - 1))
    assert both.endswith(out)
    assert both.startswith(f"revision {before}  ")
    assert cli.run(shop.operator, "log", str(revision), "--after", "1").code == 64


def test_a_long_revision_is_cut_among_others_and_whole_by_itself(shop: Shop) -> None:
    revision = written(shop, lambda change: IMAGES.add_all(change, [examples.image(f"pimg-{at}") for at in range(600)]))
    cli = CommandLine(shop.gateway)
    some = cli.well(shop.operator, "log", "--changes", "-n", "1").splitlines()
    assert (len(some), some[-1]) == (53, f"  and 550 more records: phimage log {revision}")
    assert len(cli.well(shop.operator, "log", str(revision)).splitlines()) == 602


def test_the_facts_of_a_disk_are_counted_among_others_and_shown_by_themselves(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    revision, cli = shop.catalog.refresh(), CommandLine(shop.gateway)
    shop.gateway.learn(revision)
    brief = cli.well(shop.operator, "log", "--changes", "-n", "1").splitlines()
    whole = cli.well(shop.operator, "log", str(revision)).splitlines()
    facts = [line for line in whole if "  facts." in line]
    assert [line for line in whole if line not in facts] == [line for line in brief if "  facts: " not in line]
    assert [line for line in brief if line not in whole] == [f"  image_bytes {image}  facts: {len(facts)} fields"]
    assert f'  image {image}  state: "Making" → "Available"' in brief


def test_wide_characters_count_twice() -> None:
    old, new = "一个很长的镜像名称" * 9, "一个很长的镜像名称" * 9 + "新"
    change = {"Noun": "image", "Id": "pimg-a", "Verb": "changed", "Fields": [field("name", old, new)]}
    (line,) = change_lines(change, 80, ASCII)
    assert cells(line) <= 80
    assert line.endswith('新"')
    assert cells("新e\u0301") == 3


def test_a_terminal_without_the_arrow_has_two_letters() -> None:
    change = {"Noun": "offer", "Id": "A/b/c", "Verb": "changed", "Fields": [field("stock", "1", "2")]}
    for symbols, arrow in ((UNICODE, "→"), (ASCII, "->")):
        assert change_lines(change, 80, symbols) == [f"  offer A/b/c  stock: 1 {arrow} 2"]


def test_the_log_is_searched_by_record_kind_and_author(shop: Shop) -> None:
    first = written(shop, lambda change: IMAGES.put(change, replace(image_now(change, "b-new"), description="one")))
    second = written(shop, lambda change: IMAGES.put(change, replace(image_now(change, "b-10g"), description="two")))

    def numbers(**asked: Any) -> list[int]:
        return [each["Revision"] for each in shop.well("ListRevisions", asked)["RevisionSet"]]

    assert numbers(Id="b-new")[0] == first
    assert second not in numbers(Id="b-new")
    assert numbers(Noun="image")[:2] == [second, first]
    assert numbers(Noun="image", Id="b-10g", Limit=1) == [second]
    assert numbers(Noun="quota") == []
    assert numbers(Actor="command line")[:2] == [second, first]
    assert numbers(Actor="command_line") == [], "a character of a pattern stands for itself"
    assert numbers(Id="b-new", After=first) == []


@both_sites
def test_days_are_counted_with_publications_apart_and_empty_days_among_them(shop: Shop) -> None:
    before = shop.well("GetRevisionStatistics", {"Days": 3})["DaySet"]
    author = replace(command_author("PublishPHostImage"), address=PUBLISHER)
    with shop.catalog.change(author) as change:
        IMAGES.put(change, replace(image_now(change, "b-new"), description="published"))
    shop.gateway.learn(change.number)
    after = shop.well("GetRevisionStatistics", {"Days": 3})["DaySet"]

    assert len(before) == len(after) == 3
    assert [day["Day"] % 86_400 for day in after] == [0, 0, 0]
    assert sum(day["Publications"] for day in after) == sum(day["Publications"] for day in before) + 1
    assert sum(day["Changes"] for day in after) == sum(day["Changes"] for day in before) > 0
    assert shop.ask("GetRevisionStatistics", {}, small.ACME).ret_code == 299
