/* Publishing from the browser: what a file begins with, and its upload in parts, which goes on after a reload.

The parts that the server has are compared with the file by their digests, so no part is sent twice and no other file goes on. */
"use strict";

(() => {
  const PARALLEL = 3; // what the server accepts of one upload at a time
  const HEAD = 1 << 20;
  const MAX_WAIT = 10_000;
  let chosen = null; // the file of the form, for the page of its job

  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  const bytes = (count) => {
    for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]])
      if (count >= size) return `${(count / size).toPrecision(3).replace(/e\+\d+$/, "")} ${unit}`;
    return `${count} B`;
  };
  const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const digestOf = async (part) => new Uint8Array(await crypto.subtle.digest("SHA-256", await part.arrayBuffer()));
  const hex = (digest) => [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const base64 = (digest) => btoa(String.fromCharCode(...digest));

  // The form

  const lookAt = async (form, file) => {
    const place = document.getElementById("publish-head");
    form.elements.FileName.value = file.name.slice(0, 255);
    form.elements.Size.value = file.size;
    place.replaceChildren();
    const query = new URLSearchParams({ FileName: file.name, Size: file.size });
    const answer = await fetch(`${form.dataset.head}?${query}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream", "X-Phimage-Token": form.dataset.token },
      body: await file.slice(0, HEAD).arrayBuffer(),
    });
    if (!answer.ok || file !== chosen) return;
    const found = await answer.json();
    for (const name of ["Name", "OsType", "OsName", "Version", "Family"])
      if (!form.elements[name].value) form.elements[name].value = found[name];
    if (found.Format) place.append(line("sub", fill(place.dataset.disk, { format: found.Format, size: bytes(found.VirtualSize || file.size) })));
    for (const finding of found.Findings) {
      const note = line(`note ${finding.Refuses ? "bad-edge" : "wait-edge"}`, finding.Refuses ? `${place.dataset.problem} ` : "", said(finding));
      if (finding.Override && place.dataset.override) note.append(override(finding.Id, place.dataset.override));
      place.append(note);
    }
  };

  const line = (kind, ...parts) => {
    const element = document.createElement("p");
    element.className = kind;
    element.append(...parts);
    return element;
  };

  const said = (finding) => {
    const element = document.createElement("span");
    element.textContent = finding.Text;
    if (finding.Lang) element.lang = finding.Lang;
    return element;
  };

  const override = (id, text) => {
    const label = document.createElement("label");
    label.className = "check";
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", name: "Override", value: id });
    label.append(box, ` ${text}`);
    return label;
  };

  const setUpForm = (form) => {
    const file = document.getElementById("publish-file");
    const show = () => {
      const url = form.elements._from.value === "url";
      form.querySelector(".of-file").hidden = url;
      form.querySelector(".of-url").hidden = !url;
      form.elements.Url.required = url;
      file.required = !url;
      form.elements.Digest.closest("label").hidden = form.elements._verify.value !== "digest";
      form.elements.Digest.required = form.elements._verify.value === "digest";
      form.elements.ChecksumUrl.closest("label").hidden = form.elements._verify.value !== "checksum";
      form.elements.ChecksumUrl.required = form.elements._verify.value === "checksum";
      const zones = [...form.querySelectorAll("[name=Zone]:checked")].map((box) => box.value);
      for (const box of form.querySelectorAll("[name=Support]")) {
        const offered = box.dataset.zones.split(" ").some((zone) => zones.includes(zone));
        box.disabled = !offered && !box.checked;
      }
    };
    for (const button of form.querySelectorAll("[data-tick]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        for (const box of form.querySelectorAll("[name=Support]:enabled")) box.checked = button.dataset.tick === "all";
        stale();
      });
    }
    const stale = () => document.getElementById("outcome").replaceChildren(); // what was looked at is another change
    form.addEventListener("input", (event) => {
      if (!event.target.closest("#outcome")) stale();
      show();
    });
    form.elements.Url.addEventListener("change", async () => {
      const name = form.elements.Url.value.split("?")[0].split("/").pop();
      if (name) await lookAt(form, (chosen = new File([], name)));
      chosen = null;
      form.elements.Size.value = "";
    });
    const choose = () => {
      chosen = file.files[0] ?? null;
      if (chosen) lookAt(form, chosen);
    };
    file.addEventListener("change", choose);
    show();
    choose(); // somebody was faster than the script, or the browser filled the form again
  };

  // The upload

  class Upload {
    constructor(section) {
      this.section = section;
      this.texts = section.dataset;
      this.address = section.dataset.upload;
      this.isPaused = false;
      this.waiting = []; // what goes on after a pause
      this.bar = section.querySelector("progress");
      this.pause = section.querySelector(".upload-pause");
      this.choice = section.querySelector(".upload-choice");
      this.choice.querySelector("input").addEventListener("change", (event) => {
        if (event.target.files[0]) this.send(event.target.files[0]);
      });
      this.pause.addEventListener("click", () => this.turn());
    }

    say(text, values = {}) {
      this.section.querySelector(".upload-text").textContent = fill(text, values);
    }

    refuse(text, values = {}) {
      const place = this.section.querySelector(".upload-problem");
      place.textContent = fill(text, values);
      place.hidden = !text;
    }

    /* Shows one control in place of another, which may have the focus. */
    show(control, instead) {
      const had = instead.contains(document.activeElement);
      control.hidden = false;
      instead.hidden = true;
      if (had) (control.querySelector("input") ?? control).focus();
    }

    turn() {
      this.isPaused = !this.isPaused;
      this.pause.textContent = this.isPaused ? this.texts.goOn : this.texts.pause;
      if (this.isPaused) this.say(this.texts.paused);
      else for (const goOn of this.waiting.splice(0)) goOn();
    }

    async unpaused() {
      while (this.isPaused) await new Promise((resolve) => this.waiting.push(resolve));
    }

    /* The parts that the server has, by number. Waits while the server is away; a new address if this one has expired. */
    async parts(stop) {
      for (let wait = 500; !stop?.aborted; wait = Math.min(2 * wait, MAX_WAIT)) {
        try {
          const answer = await fetch(this.address);
          if (answer.ok) {
            const { PartSize, Parts } = await answer.json();
            this.partSize = PartSize;
            return new Map(Parts.map((part) => [part.Part, part]));
          }
          if (answer.status === 409) throw new Refused((await answer.json()).Detail);
          if (answer.status === 401 || answer.status === 403) await this.renew();
        } catch (error) {
          if (error instanceof Refused) throw error;
        }
        this.say(this.texts.waiting);
        await sleep(wait);
      }
      return new Map();
    }

    async renew() {
      const query = this.texts.project ? `?ProjectId=${encodeURIComponent(this.texts.project)}` : "";
      const answer = await fetch(`${this.texts.job}/upload${query}`, { headers: { "HX-Request": "true" } });
      if (answer.status === 204) location.reload(); // signed out: the page leads to the sign-in and back
      if (!answer.ok) return;
      const { Upload: address } = await answer.json();
      if (!address) throw new Refused(this.texts.closed);
      this.address = address;
    }

    async showStored() {
      const stored = await this.parts();
      const name = this.texts.name;
      if (stored.size) this.say(name ? this.texts.choose : this.texts.chooseAny, { name, parts: stored.size });
      else this.say(this.texts.chooseAny, { parts: 0 });
    }

    async send(file) {
      this.refuse("");
      try {
        if (Number(this.texts.size) && Number(this.texts.size) !== file.size)
          throw new Refused(fill(this.texts.otherSize, { name: file.name, size: file.size, expected: this.texts.size }));
        this.file = file;
        this.show(this.pause, this.choice);
        this.bar.hidden = false;
        const stored = await this.parts();
        await this.compare(stored);
        await this.sendMissing(stored);
        this.say(this.texts.closing);
        await this.complete();
      } catch (error) {
        this.show(this.choice, this.pause);
        this.refuse(error instanceof Refused ? error.message : fill(this.texts.unreadable, { name: file.name, reason: error.message }));
      }
    }

    part(number) {
      return this.file.slice(number * this.partSize, (number + 1) * this.partSize);
    }

    /* Refuses a file whose parts differ from those that the server has. */
    async compare(stored) {
      let done = 0;
      for (const [number, part] of stored) {
        this.say(this.texts.checking, { done, parts: stored.size });
        const own = this.part(number);
        if (own.size !== part.Size || hex(await digestOf(own)) !== part.Sha256)
          throw new Refused(fill(this.texts.otherPart, { name: this.file.name, number }));
        this.bar.value = (1000 * ++done) / stored.size;
      }
    }

    async sendMissing(stored) {
      const count = Math.max(1, Math.ceil(this.file.size / this.partSize));
      const missing = [...Array(count).keys()].filter((number) => !stored.has(number));
      this.count = count;
      this.stored = new Set(stored.keys());
      this.recent = [[performance.now(), 0]];
      this.sent = 0;
      this.showProgress();
      const stopping = new AbortController();
      const work = async () => {
        while (missing.length && !stopping.signal.aborted) {
          await this.unpaused();
          const number = missing.shift();
          if (number !== undefined) await this.sendPart(number, stopping.signal);
        }
      };
      const works = Array.from({ length: PARALLEL }, work);
      try {
        await Promise.all(works);
      } catch (error) {
        stopping.abort(); // nothing of this file may be sent beside the next one
        if (this.isPaused) this.turn();
        await Promise.allSettled(works);
        throw error;
      }
      this.pause.hidden = true; // the page is loaded again when the upload is complete
    }

    async sendPart(number, stop) {
      const content = this.part(number); // sent from the disk; the server compares it with the digest
      const digest = await digestOf(content);
      for (let wait = 500; !stop.aborted; wait = Math.min(2 * wait, MAX_WAIT)) {
        let answer = null;
        try {
          const [path, ticket] = this.address.split("?");
          answer = await fetch(`${path}/${number}?${ticket}`, {
            method: "PUT",
            headers: { "Content-Digest": `sha-256=:${base64(digest)}:`, "Content-Type": "application/octet-stream" },
            body: content,
            signal: stop,
          });
        } catch {
          if (!stop.aborted) await content.slice(0, 1).arrayBuffer(); // throws if the file is away; else the server or the network is
        }
        if (answer?.status === 201) break;
        if (answer && ![401, 403, 408, 429, 500, 502, 503, 504].includes(answer.status)) throw new Refused((await answer.json()).Detail);
        if (answer?.status === 401 || answer?.status === 403) await this.renew();
        await sleep(wait);
        await this.unpaused();
        const part = (await this.parts(stop)).get(number); // the answer may have been lost, not the part
        if (part?.Sha256 === hex(digest)) break;
      }
      if (stop.aborted) return;
      this.stored.add(number);
      this.sent += content.size;
      this.recent.push([performance.now(), this.sent]);
      if (this.recent.length > 12) this.recent.shift();
      this.showProgress();
    }

    showProgress() {
      const done = Math.min(this.file.size, this.stored.size * this.partSize);
      const [[since, before], [now, sent]] = [this.recent[0], this.recent[this.recent.length - 1]];
      const rate = now > since ? fill(this.texts.rate, { rate: bytes(Math.round((1000 * (sent - before)) / (now - since))) }) : "";
      this.bar.value = (1000 * this.stored.size) / this.count;
      if (!this.isPaused) this.say(this.texts.sending, { done: bytes(done), total: bytes(this.file.size), rate, parts: this.stored.size, count: this.count });
    }

    async complete() {
      const form = new URLSearchParams({ _token: this.texts.token, Size: this.file.size });
      const query = this.texts.project ? `?ProjectId=${encodeURIComponent(this.texts.project)}` : "";
      for (let wait = 500; ; wait = Math.min(2 * wait, MAX_WAIT)) {
        const answer = await fetch(`${this.texts.job}/upload${query}`, { method: "POST", body: form }).catch(() => null);
        if (answer?.ok) break;
        if (answer && answer.status < 500) throw new Refused(await reason(answer));
        await sleep(wait);
      }
      this.say(this.texts.done);
      location.reload();
    }
  }

  class Refused extends Error {}

  const reason = async (answer) => {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return page.querySelector("main [data-refusal], main h1")?.textContent.trim() || answer.statusText;
  };

  const start = (root) => {
    const form = root.querySelector("#publish-form:not([data-ready])");
    if (form) {
      form.dataset.ready = "";
      setUpForm(form);
    }
    const section = root.querySelector("[data-upload]:not([data-ready])");
    if (!section) return;
    section.dataset.ready = "";
    const upload = new Upload(section);
    const file = chosen ?? upload.choice.querySelector("input").files[0];
    chosen = null;
    if (file) upload.send(file);
    else upload.showStored().catch((error) => upload.refuse(error.message));
  };

  document.addEventListener("htmx:afterSettle", () => start(document));
  start(document);
})();
