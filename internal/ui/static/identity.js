// Who we are to the server, and what we may do. What one may not do has no button.
import { effect, signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { caller, showToken, token } from "./api.js";
import { html } from "./html.js";
import { Dialog, Ending, Field } from "./parts/dialog.js";

/** @typedef {{name: string, verbs: string[], known: boolean}} Caller */

const nobody = { name: "", verbs: [], known: false };

/** @type {Map<string, import("@preact/signals").Signal<Caller>>} */
const asked = new Map();

/** Who we are, with what we may do with a service; "" is with any at all. */
export function us(service = "") {
  let found = asked.get(service);
  if (!found) {
    found = signal(nobody);
    asked.set(service, found);
    ask(service, found);
  }
  return found;
}

async function ask(service, into) {
  try {
    const { name, verbs } = await caller(service);
    into.value = { name, verbs, known: true };
  } catch (failure) {
    if (failure.refused) into.value = nobody;
    else if (!into.peek().known) setTimeout(() => ask(service, into), 2_000); // the server is away; what one was let, one is, until it says otherwise
  }
}

const most = 20; // services of which that is kept up to date: those that were looked at last

/** Asks again, as when rules may have changed. */
export function askAgain() {
  for (const service of [...asked.keys()].filter(Boolean).slice(0, -most)) asked.delete(service);
  for (const [service, into] of asked) ask(service, into);
}

effect(() => {
  token.value;
  askAgain();
});
setInterval(() => document.hidden || askAgain(), 60_000);

export const may = (verb, service) => us(service).value.verbs.includes(verb);

const signature = "rollcall.author";

/** With what somebody signs at a server that does not ask who he is. */
export const author = signal(localStorage.getItem(signature) ?? "");

export function sign(name) {
  localStorage.setItem(signature, name);
  author.value = name;
}

/** Whether the server knows itself who signs. */
export const signed = (service) => us(service).value.name !== "";

/** Whether the dialog for a token is open. */
export const naming = signal(false);

export function WhoAmI() {
  const { name, known } = us().value;
  return html`<button type="button" class="quiet who" onClick=${() => (naming.value = true)} title="Who you are to the server">
    <span class="unseen">You are </span><bdi>${name || (known ? "anybody" : "nobody known")}</bdi>
  </button>`;
}

export function Naming() {
  const [text, setText] = useState("");
  if (!naming.value) return null;
  const { name, verbs } = us().value;
  const close = () => (naming.value = false);
  const show = (event) => {
    event.preventDefault();
    showToken(text.trim());
    setText("");
    close();
  };
  return html`<${Dialog} title="Who you are" onClose=${close}>
    <form onSubmit=${show}>
      <p>${name ? html`To the server you are <b><bdi>${name}</bdi></b>.` : verbs.length ? "This server does not ask who you are." : "The server does not know you."}
      ${" "}You may: ${verbs.join(", ") || "nothing"}.</p>
      <${Field} label="Token" hint="kept until this tab is closed, and shown to this server only">
        <input type="password" autocomplete="off" value=${text} onInput=${(e) => setText(e.target.value)} />
      <//>
      ${token.value && html`<p><button type="button" onClick=${() => { showToken(""); close(); }}>Forget the token</button></p>`}
      <${Ending} verb="Use the token" disabled=${!text.trim()} onClose=${close} />
    </form>
  <//>`;
}
