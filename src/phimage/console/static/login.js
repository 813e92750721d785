/* Signing in: posts the code of a link, or a proof of a private key. The key itself is never sent and never kept. */
"use strict";

(() => {
  const page = document.querySelector("[data-following]");
  if (!page) return;
  const part = (name) => document.getElementById(`login-${name}`);
  const form = part("key");

  const refuse = (text) => {
    part("working").hidden = true;
    part("refused").textContent = text;
    part("refused").hidden = false;
  };

  const post = async (path, values) => {
    const answer = await fetch(`${form.action}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(values),
    });
    const fields = answer.headers.get("Content-Type") === "application/json" ? await answer.json() : { Reason: answer.statusText };
    if (fields.Instead) throw new SignedIn(fields.Instead);
    if (!answer.ok) throw new Error([fields.Reason, fields.Detail].filter(Boolean).join(" — "));
    return fields;
  };

  const signIn = async (begin) => {
    part("refused").hidden = true;
    part("working").hidden = false;
    try {
      await begin();
      location.replace(page.dataset.following);
    } catch (error) {
      if (error instanceof SignedIn) ask(error.message);
      else refuse(error.message);
    }
  };

  class SignedIn extends Error {}

  const ask = (text) => {
    part("working").hidden = true;
    part("who").textContent = text;
    part("instead").hidden = false;
  };

  const code = location.hash.slice(1);
  if (code) {
    history.replaceState(null, "", location.pathname + location.search); // the code must not stay in the history
    const use = (instead) => signIn(() => post("code", { Code: code, Instead: instead }));
    part("use").addEventListener("click", () => use(true));
    use(false);
  }

  const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  const prove = async () => {
    const encode = (text) => new TextEncoder().encode(text);
    const publicKey = part("public").value.trim();
    const privateKey = part("private").value.trim();
    const { Nonce } = await post("nonce", {});
    const key = await crypto.subtle.importKey("raw", encode(privateKey), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const proof = await crypto.subtle.sign("HMAC", key, encode(`phimage-console-login\n${Nonce}\n${publicKey}`));
    await post("key", { PublicKey: publicKey, Nonce, Proof: hex(proof) });
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(prove).finally(() => {
      part("private").value = "";
    });
  });
  if (globalThis.crypto?.subtle) form.querySelector("button").disabled = false;
  else part("insecure").hidden = false;
})();
