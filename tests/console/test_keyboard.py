"""What people do in the console without a mouse, in Chromium."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect

from tests.console.conftest import OPERATOR, OpenPage
from tests.console.keyboard import Keyboard
from tests.console.test_flows import names
from tests.console.visitor import wait_until

pytestmark = pytest.mark.more


def test_from_the_list_over_the_reason_to_the_matrix_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02")
    keys = Keyboard(page)

    keys.press(page.get_by_role("link", name="Ubuntu 22.04.4 64位"))
    keys.press(page.locator("#runs-matrix .cell.no").first)
    expect(page.get_by_text("It is not listed")).to_be_visible()
    keys.choose(page.get_by_label("Machine type"), "any")
    expect(page.get_by_text("It is listed", exact=True)).to_be_visible()
    expect(page.get_by_label("Machine type")).to_be_focused()
    keys.press(page.get_by_role("link", name="Matrix"))
    keys.press(page.locator("table.matrix .cell.yes").first)

    expect(page.get_by_text("It is listed", exact=True)).to_be_visible()


def test_the_focus_stays_in_a_filter_and_the_frame_keeps_the_filters(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02")
    keys = Keyboard(page)

    keys.choose(page.get_by_label("Machine type"), "DB-2")
    page.wait_for_url(re.compile("MachineType=DB-2"))
    expect(page.locator("#live")).to_contain_text("without these filters")
    expect(page.get_by_label("Machine type")).to_be_focused()
    rows = names(page)
    keys.press(page.get_by_role("link", name="简体中文"))

    page.wait_for_url(re.compile("lang=zh"))
    assert "MachineType=DB-2" in page.url
    assert names(page) == rows


def test_a_list_that_is_typed_in_stays_the_same_one_while_the_answer_comes(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02")
    machine_types, clusters = page.get_by_label("Machine type"), page.get_by_label("Cluster")
    keys = Keyboard(page)

    for control in (machine_types, clusters):
        control.evaluate("element => { element.dataset.old = '' }")
    keys.choose(machine_types, "DB-2")
    expect(clusters.and_(page.locator("select:not([data-old])"))).to_be_visible()

    expect(machine_types).to_have_attribute("data-old", "")
    expect(machine_types).to_be_focused()


def test_a_row_keeps_the_focus_while_the_list_is_read_again(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02", who=OPERATOR)
    page.evaluate("document.querySelector('table[data-rows] tbody').dataset.old = ''")
    page.evaluate("document.addEventListener('htmx:afterSettle', () => { document.body.dataset.settled = '' })")

    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator(":focus").inner_text()
    expect(page.locator("table[data-rows] tbody:not([data-old])")).to_be_visible()
    expect(page.locator("body[data-settled]")).to_be_visible()

    assert page.locator(":focus").inner_text() == second


def test_a_button_keeps_the_focus_while_the_page_of_a_job_is_read_again(open_page: OpenPage) -> None:
    page = open_page("/console/jobs/job-running", who=OPERATOR)
    cancel = page.locator("form[action$='/changes/cancel-job'] button")
    page.locator("#job").evaluate("element => { element.dataset.old = '' }")

    Keyboard(page).reach(cancel)
    expect(page.locator("#job:not([data-old])")).to_be_visible()

    expect(cancel).to_be_focused()


def test_no_cell_of_the_matrix_with_the_focus_is_below_the_names(open_page: OpenPage) -> None:
    page = open_page("/console/matrix?Zone=cn-bj2-02", width=360)
    keys = Keyboard(page)
    cells = page.locator("table.matrix tbody tr").first.locator(".cell")

    keys.reach(cells.last)
    for number in reversed(range(cells.count())):
        keys.reach(cells.nth(number), back=True)


def test_a_past_time_is_typed_in_the_zone_of_the_viewer(open_page: OpenPage) -> None:
    page = open_page("/console/images?ImageType=Custom", who=OPERATOR)
    keys = Keyboard(page)

    keys.press(page.get_by_role("button", name="as of now"))
    field = page.get_by_label("At this time (Asia/Shanghai)")
    keys.reach(field)
    for part in ("01022024", "083000AM"):  # Chromium's own language orders the parts of the field
        page.keyboard.type(part)
        page.keyboard.press("ArrowRight")
    assert field.input_value() == "2024-01-02T08:30"
    expect(field).to_have_attribute("title", "2024-01-02 00:30:00 UTC")
    keys.press(page.locator("#as-of form").first.get_by_role("button"))

    page.wait_for_url(re.compile("at=2024-01-02T00%3A30%3A00Z"))
    expect(page.get_by_text("You look at a past catalogue: 2024-01-02 08:30.")).to_be_visible()
    expect(page.locator(".banner time")).to_have_attribute("title", "2024-01-02 00:30:00 UTC")


def test_a_past_catalogue_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/console/images?ImageType=Custom")
    keys = Keyboard(page)
    today = names(page)

    keys.press(page.get_by_role("button", name="as of now"))
    keys.type(page.get_by_label("At this revision"), "2\n")
    page.wait_for_url(re.compile("rev=2"))
    expect(page.get_by_text("You look at a past catalogue: revision 2.")).to_be_visible()
    assert names(page) == []
    keys.press(page.get_by_role("link", name="Back to now").last)

    page.wait_for_url(lambda url: "rev=" not in url)
    assert names(page) == today


def test_a_revision_and_the_catalogue_before_it_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/console/log?id=pimg-os-web7k2ma", who=OPERATOR)
    keys = Keyboard(page)

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".diff").get_by_text("v1.2")).to_be_visible()
    keys.press(page.get_by_role("link", name="The catalogue before"))
    page.wait_for_url(re.compile("rev="))
    page.keyboard.press("/")
    page.keyboard.type("web-frontend")
    expect(page.locator("table[data-rows] tbody tr")).to_have_count(1)

    expect(page.locator("table[data-rows]")).to_contain_text("v1.0")


def test_the_language_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/console/images")
    keys = Keyboard(page)

    keys.press(page.get_by_role("link", name="简体中文"))
    expect(page.get_by_role("heading", level=1)).to_have_text("镜像")
    keys.press(page.get_by_role("link", name="English"))

    expect(page.get_by_role("heading", level=1)).to_have_text("Images")


def test_the_focus_goes_to_the_new_part_when_its_control_is_gone(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02")

    held: list[Route] = []
    page.route("**/console/images?*q=nothing-has-this-name*", lambda route: held.append(route))

    page.get_by_placeholder("Find by id").fill("nothing-has-this-name")
    page.locator("table[data-rows] a.name").first.focus()
    wait_until(lambda: bool(held), page)
    held[0].continue_()

    expect(page.get_by_text("No image matches")).to_be_visible()
    expect(page.locator("#results")).to_be_focused()
