"""A person without a mouse: the Tab key until a control has the focus, which must be seen, and then keys."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

MAX_STEPS = 250
_SHOWS_FOCUS = """element => {
  const seen = each => {
    const style = getComputedStyle(each);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  };
  const around = element.nextElementSibling && element.matches("input") ? [element, element.nextElementSibling] : [element];
  return around.some(seen);
}"""
_COVERED = """element => {
  const box = element.getClientRects()[0];
  if (!box) return false; // what was swapped in has the focus now
  const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  return !top || !(element.contains(top) || top.contains(element));
}"""
"""Whether it is outside of the window, or something lies on it."""


class Keyboard:
    """The keyboard of a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def reach(self, control: Locator, back: bool = False) -> None:
        """Press Tab until a control has the focus."""
        control.wait_for()
        for _ in range(MAX_STEPS):
            if control.evaluate("element => element === document.activeElement"):
                assert control.evaluate(_SHOWS_FOCUS), f"the focus on {control} cannot be seen"
                assert not control.evaluate(_COVERED), f"{control} has the focus and is covered"
                return
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
        raise AssertionError(f"Tab does not reach {control}")

    def press(self, control: Locator, key: str = "Enter") -> None:
        """Go to a control and press a key there."""
        self.reach(control)
        self.page.keyboard.press(key)

    def type(self, control: Locator, text: str) -> None:
        """Write into a field, in place of what it holds."""
        self.reach(control)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def choose(self, control: Locator, option: str) -> None:
        """Choose the option of a closed list that begins so, by as many of its first letters as that takes.

        Letters that come slowly begin a new word, so a busy machine goes the rest of the way by arrows.
        """
        self.reach(control)
        for letter in option:
            self.page.keyboard.press(letter)
            if control.locator("option:checked").inner_text().startswith(option):
                return
        for _ in range(MAX_STEPS):
            chosen = control.locator("option:checked").inner_text()
            if chosen.startswith(option):
                return
            options = control.locator("option").all_inner_texts()
            wanted = next(number for number, text in enumerate(options) if text.startswith(option))
            self.page.keyboard.press("ArrowDown" if options.index(chosen) < wanted else "ArrowUp")
        raise AssertionError(f"no key chooses {option}")
