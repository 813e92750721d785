"""What people do in the console, in Chromium."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.console.conftest import OPERATOR, TENANT, OpenPage
from tests.console.site import ConsoleSite
from tests.console.visitor import wait_until

HEADINGS = {"en": "Images", "zh": "镜像"}


NAMES = "table[data-rows] tbody th .name"


def names(page: Page) -> list[str]:
    """The names in the table of a page."""
    return page.locator(NAMES).all_inner_texts()


def test_a_filter_changes_rows_and_address_and_survives_reload_and_back(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02")
    everything = names(page)

    page.get_by_label("Machine type").select_option("DB-2")
    expect(page.locator("#results .count")).to_contain_text("without these filters")
    page.wait_for_url(re.compile("MachineType=DB-2"))
    some = names(page)

    assert 0 < len(some) < len(everything)
    page.reload()
    assert names(page) == some
    expect(page.get_by_label("Machine type")).to_have_value("DB-2")
    page.get_by_placeholder("Find by id").fill("debian-12")
    page.wait_for_url(re.compile("q=debian-12"))
    expect(page.locator(NAMES).filter(has_not_text="Debian 12")).to_have_count(0)
    page.go_back()
    expect(page.get_by_label("Machine type")).to_have_value("DB-2")
    expect(page.locator(NAMES)).to_have_text(some, use_inner_text=True)


@pytest.mark.more
def test_a_filter_counts_although_the_list_is_read_again_meanwhile(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02", who=OPERATOR)
    everything = names(page)
    read_again: list[Route] = []
    filtered: list[Route] = []
    is_filtered = re.compile(r"/console/images\?.*MachineType=DB-2")
    page.route(re.compile(r"/console/images\?"), lambda route: read_again.append(route))
    page.route(is_filtered, lambda route: filtered.append(route))

    wait_until(lambda: bool(read_again), page)
    page.get_by_label("Machine type").select_option("DB-2")
    wait_until(lambda: bool(filtered), page)
    page.evaluate("document.addEventListener('htmx:afterOnLoad', () => { document.body.dataset.readAgain = '' })")
    read_again[0].continue_()
    expect(page.locator("body[data-read-again]")).to_be_visible()
    filtered[0].continue_()

    expect(page.locator("#results .count")).to_contain_text("without these filters")
    assert 0 < len(names(page)) < len(everything)


def test_from_the_list_over_the_reason_to_the_matrix(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02")

    page.get_by_role("link", name="Ubuntu 22.04.4 64位").click()
    page.locator("#runs-matrix .cell.no").first.click()
    expect(page.get_by_text("It is not listed")).to_be_visible()
    expect(page.get_by_text("It does not support this machine")).to_be_visible()
    page.get_by_label("Machine type").select_option("")
    expect(page.get_by_text("It is listed", exact=True)).to_be_visible()
    page.get_by_role("link", name="Matrix").click()
    page.locator("table.matrix .cell.yes").first.click()

    expect(page.get_by_text("It is listed", exact=True)).to_be_visible()


def test_a_past_catalogue_is_shown_until_one_goes_back_to_now(open_page: OpenPage) -> None:
    page = open_page("/console/images?ImageType=Custom")
    today = names(page)

    page.get_by_role("button", name="as of now").click()
    page.get_by_label("At this revision").fill("2")
    page.locator("#as-of form").nth(1).get_by_role("button").click()
    page.wait_for_url(re.compile("rev=2"))
    expect(page.get_by_text("You look at a past catalogue: revision 2.")).to_be_visible()
    assert names(page) == []
    page.get_by_role("link", name="Matrix").click()
    page.wait_for_url(re.compile("/console/matrix.*rev=2"))
    page.get_by_role("link", name="Images").click()
    page.wait_for_url(re.compile("/console/images.*rev=2"))
    page.get_by_label("Custom").check(force=True)
    page.wait_for_url(re.compile("ImageType=Custom"))
    page.get_by_role("link", name="Back to now").click()

    page.wait_for_url(lambda url: "rev=" not in url)
    page.goto(page.url.split("?")[0] + "?ImageType=Custom")
    assert names(page) == today


def test_a_revision_shows_its_fields_and_the_catalogue_around_it(open_page: OpenPage) -> None:
    page = open_page("/console/log", who=OPERATOR)

    page.get_by_label("Kind").select_option("quota")
    page.wait_for_url(re.compile("noun=quota"))
    expect(page.locator("table[data-rows] tbody tr")).to_have_count(1)
    page.goto(page.url.split("?")[0] + "?id=pimg-os-web7k2ma")
    page.locator("table[data-rows] a.name").first.click()
    expect(page.locator(".diff").get_by_text("v1.0")).to_be_visible()
    expect(page.locator(".diff").get_by_text("v1.2")).to_be_visible()
    page.get_by_role("link", name="The catalogue before").click()
    page.wait_for_url(re.compile("rev="))
    page.get_by_placeholder("Find by id").fill("web-frontend")
    expect(page.locator("table[data-rows] tbody tr")).to_have_count(1)

    expect(page.locator("table[data-rows]")).to_contain_text("v1.0")


def test_keys_move_through_the_rows_and_open_one(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02")
    second = names(page)[1]

    page.keyboard.press("j")
    page.keyboard.press("j")
    focused = page.locator(":focus")
    assert focused.inner_text() == second
    outline = focused.evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid", "the focus is visible"
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text(second)
    page.wait_for_load_state()  # its script hears the keys
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()


@pytest.mark.more
def test_the_language_and_the_theme_stay_chosen(open_page: OpenPage) -> None:
    page = open_page("/console/images")

    page.get_by_role("link", name="简体中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HEADINGS["zh"])
    page.get_by_role("link", name="兼容矩阵").click()
    page.wait_for_url(re.compile("/console/matrix"))
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.locator(".themer").click()
    page.wait_for_url(re.compile("theme=dark"))
    page.get_by_role("link", name="镜像").first.click()
    page.wait_for_url(re.compile("/console/images"))

    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@pytest.mark.more
def test_everything_can_be_read_without_scripts(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02", script=False)

    page.get_by_label("Machine type").select_option("DB-2")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url(re.compile("MachineType=DB-2"))
    page.get_by_role("link", name="Version").click()
    page.wait_for_url(re.compile("MachineType=DB-2.*sort=version"))
    page.locator("table[data-rows] a.name").first.click()
    expect(page.get_by_role("heading", name="Where it runs")).to_be_visible()
    page.get_by_role("button", name="Snippets").click()

    expect(page.locator("#snippets")).to_be_visible()


@pytest.mark.more
def test_a_snippet_is_copied(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02&MachineType=DB-2&rev=5")

    page.get_by_role("button", name="Snippets").click()
    page.locator("#snippets .copy").first.click()
    expect(page.locator("#live")).to_have_text("Copied")
    text = page.evaluate("navigator.clipboard.readText()")

    assert text.startswith("phimage image ls ")
    assert "--machine-type=DB-2" in text
    assert "/rev/5" in text


@pytest.mark.more
@pytest.mark.parametrize("path", ["/console/", "/console/images", "/console/matrix", "/console/log/2", "/console/store"])
@pytest.mark.parametrize(("width", "height"), [(360, 800), (320, 200), (2560, 1440)], ids=["360 px", "400 %", "2560 px"])
def test_no_page_is_wider_than_its_window(open_page: OpenPage, path: str, width: int, height: int) -> None:
    """1280 x 800 pixels at 400 % are 320 x 200."""
    page = open_page(path, who=OPERATOR, width=width, height=height)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_role("heading", level=1).is_visible()


@pytest.mark.more
def test_in_a_narrow_window_values_stand_beside_their_labels_and_the_area_is_in_sight(open_page: OpenPage) -> None:
    page = open_page("/console/log", who=OPERATOR, width=360)
    page.get_by_label("Kind").select_option("quota")
    page.wait_for_url(re.compile("noun=quota"))

    cell = page.locator("td[data-label='Changes']").first
    lefts = cell.evaluate("""cell => {
      const range = document.createRange();
      return [...cell.childNodes].filter(node => node.textContent.trim()).map(node => {
        range.selectNodeContents(node);
        return range.getClientRects()[0].left - cell.getBoundingClientRect().left;
      });
    }""")
    assert min(lefts) >= 116
    box = page.locator(".areas [aria-current]").bounding_box()
    assert box
    assert 0 <= box["x"] <= 360 - box["width"]


@pytest.mark.more
def test_times_are_those_of_the_viewer(open_page: OpenPage, site: ConsoleSite) -> None:
    page = open_page("/console/log/14", who=OPERATOR)

    shown = page.locator("main time").first
    utc = shown.get_attribute("title") or ""

    assert utc.endswith(" UTC")
    there = page.evaluate("text => new Date(text).getHours()", shown.get_attribute("datetime"))
    assert f" {there:02}:" in shown.inner_text()
    assert int(utc[11:13]) == (there - 8) % 24


@pytest.mark.more
def test_a_list_address_shows_the_same_rows_in_another_browser(open_page: OpenPage) -> None:
    page = open_page("/console/images?Zone=cn-bj2-02")
    page.get_by_label("Machine type").select_option("DB-2")
    page.wait_for_url(re.compile("MachineType=DB-2"))
    page.get_by_role("link", name="Version").click()
    page.wait_for_url(re.compile("sort=version"))

    again = open_page(page.url.replace(page.url.split("/console")[0], ""), who=TENANT)

    assert names(page)
    expect(again.locator(NAMES)).to_have_text(names(page), use_inner_text=True)
