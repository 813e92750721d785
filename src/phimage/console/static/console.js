/* The few things of the console that need a script: times in the viewer's zone, copying, keys, focus. All pages work without. */
"use strict";

(() => {
  const say = (text) => {
    const live = document.getElementById("live");
    if (live) live.textContent = text;
  };

  const pad = (number) => String(number).padStart(2, "0");
  const day = (date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;

  const showTimes = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const date = new Date(element.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      element.textContent = element.dataset.form === "day" ? day(date) : `${day(date)} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
    }
  };

  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const area = document.createElement("textarea");
      area.value = button.dataset.copy;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.dataset.done = "";
    setTimeout(() => delete button.dataset.done, 1500);
    say(document.body.dataset.copied);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });

  const rowLinks = () => [...document.querySelectorAll("table[data-rows] tbody tr a.name")];

  const move = (step) => {
    const links = rowLinks();
    if (!links.length) return;
    const now = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
    const next = now < 0 ? (step > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, now + step));
    links[next].focus();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, [contenteditable]")) return;
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "?") document.getElementById("keys")?.togglePopover();
    else if (event.key === "/") {
      const find = document.querySelector("[data-key='/']");
      if (!find) return;
      event.preventDefault();
      find.focus();
      find.select();
    }
  });

  // Browsers leave a cell half below the names of the matrix.
  document.addEventListener("focusin", ({ target }) => {
    if (target.matches("[data-grid] .cell:focus-visible")) target.scrollIntoView({ block: "nearest", inline: "nearest" });
  });

  // Focus stays where it was, in the same control of what was swapped in: docs/decisions.md#focus-stays-in-the-filter
  const placeOf = (element) => {
    for (const name of ["id", "name", "href", "data-copy", "popovertarget"]) {
      const value = element.getAttribute(name);
      if (value) return `${element.tagName}[${name}="${CSS.escape(value)}"]`;
    }
    const action = element.matches("button") && element.form?.getAttribute("action");
    if (action) return `form[action="${CSS.escape(action)}"] button`;
    return "";
  };
  let focused = null;
  let place = "";

  // A part that is read again stays while somebody's own request is under way, whose answer takes its place:
  // docs/decisions.md#a-filter-is-not-lost-to-a-list-that-is-read-again
  const awaited = new Set();
  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (detail.requestConfig.elt !== detail.target) awaited.add(detail.target);
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => awaited.delete(detail.target));

  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.requestConfig.elt === detail.target && awaited.has(detail.target)) {
      detail.shouldSwap = false;
      return;
    }
    focused = document.activeElement;
    place = focused && focused !== document.body ? placeOf(focused) : "";
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (!focused || focused.isConnected) return;
    const again = place && document.querySelector(place);
    (again || document.getElementById(event.detail.target.id))?.focus({ preventScroll: true });
    focused = null;
  });

  // A list in use stays while its choices are the same: what somebody goes on typing there belongs to the same word.
  const choices = (root) => [...root.querySelectorAll("option")].map((option) => option.value).join("\n");

  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (document.activeElement.matches("select") && target.contains(document.activeElement)) {
      event.detail.shouldSwap = choices(target) !== choices(fragment);
    }
  });

  // A past time is typed in the viewer's zone and sent in UTC.
  const asField = (date) => `${day(date)}T${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  const inUtc = (field) => {
    const date = new Date(field.value);
    return Number.isNaN(date.getTime()) ? "" : `${date.toISOString().slice(0, 19)}Z`;
  };

  const inZone = (field) => {
    const date = new Date(field.dataset.utc);
    if (field.dataset.utc && !Number.isNaN(date.getTime())) field.value = asField(date);
    delete field.dataset.utc;
    field.title = inUtc(field).replace("T", " ").replace("Z", " UTC");
    field.form.querySelector("[data-zone]").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  };

  document.addEventListener("input", (event) => {
    if (event.target.type === "datetime-local") inZone(event.target);
  });

  document.addEventListener("formdata", (event) => {
    for (const field of event.target.querySelectorAll("input[type='datetime-local']")) event.formData.set(field.name, inUtc(field));
  });

  // Of areas that do not fit into the window, the one of the page is in sight.
  const showArea = () => {
    const area = document.querySelector(".areas [aria-current]");
    if (area) area.parentElement.scrollLeft = area.offsetLeft + area.offsetWidth + 48 - area.parentElement.clientWidth;
  };
  document.addEventListener("htmx:oobAfterSwap", showArea);

  const showAll = () => {
    showTimes(document);
    for (const field of document.querySelectorAll("input[data-utc]")) inZone(field);
  };

  document.addEventListener("htmx:afterSettle", (event) => {
    const swapped = event.detail.elt;
    if (!swapped?.querySelectorAll) return;
    showAll();
    const live = swapped.matches("[data-live]") ? swapped : swapped.querySelector("[data-live]");
    if (live && event.detail.requestConfig?.elt?.matches("form, a")) say(live.textContent.trim());
  });

  const start = () => {
    showAll();
    showArea();
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
