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

  document.addEventListener("htmx:afterSettle", (event) => {
    const swapped = event.detail.elt;
    if (!swapped?.querySelectorAll) return;
    showTimes(swapped);
    const live = swapped.matches("[data-live]") ? swapped : swapped.querySelector("[data-live]");
    if (live && event.detail.requestConfig?.elt?.matches("form, a")) say(live.textContent.trim());
  });

  const start = () => showTimes(document);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
