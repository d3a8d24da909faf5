// Short words about what was done. They are read out, and go by themselves.
import { signal } from "@preact/signals";
import { html } from "../html.js";

const toasts = signal(/** @type {{id: number, text: string, kind: string}[]} */ ([]));
let last = 0;

/** Says something; kind is "good" or "bad". */
export function toast(text, kind = "good") {
  const id = ++last;
  toasts.value = [...toasts.value.slice(-3), { id, text, kind }];
  setTimeout(() => drop(id), kind === "bad" ? 10_000 : 5_000);
}

const drop = (id) => (toasts.value = toasts.value.filter((t) => t.id !== id));

export const Toasts = () => html`<div class="toasts" role="status">
  ${toasts.value.map((t) => html`<p key=${t.id} class=${"toast " + t.kind}>${t.text}<button type="button" class="quiet" aria-label="Dismiss" onClick=${() => drop(t.id)}>✕</button></p>`)}
</div>`;
