// Text of others: names, addresses, metadata. It is shown as it is, may run in any direction, and may be long.
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { toast } from "./toast.js";

const most = 160;

const hidden = /([\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff])/u;

/** A text with marks in the place of characters that cannot be seen but turn round or hide what is around them. */
export const visible = (text) =>
  hidden.test(text) ? text.split(hidden).map((part, n) => (n % 2 ? html`<span class="hidden-character" title="a character that cannot be seen">U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}</span>` : part)) : text;

/** A word of somebody else's, apart from the text around it. */
export const Name = ({ text, class: extra }) => html`<bdi class=${extra}>${visible(text)}</bdi>`;

/** A text of somebody else's, cut when it is long. */
export function Long({ text, class: extra }) {
  const [all, setAll] = useState(false);
  const characters = text.length > most ? Array.from(text) : [];
  if (characters.length <= most) return html`<bdi class=${"long " + (extra ?? "")}>${visible(text)}</bdi>`;
  return html`<bdi class=${"long " + (extra ?? "")}>${visible(all ? text : characters.slice(0, most - 20).join("") + "…")}</bdi>
    <button type="button" class="quiet" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? "show less" : `show all ${characters.length.toLocaleString()} characters`}</button>`;
}

/** A button that copies a text. */
export function Copy({ text, what = "" }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast(`Copied ${what}`.trim());
    } catch {
      toast("The browser does not let this page copy: mark the text and copy it yourself", "bad");
    }
  };
  return html`<button type="button" class="quiet copy" aria-label=${`Copy ${what}`.trim()} onClick=${copy}>Copy</button>`;
}

export const number = (n) => Number(n).toLocaleString();

/** One word for one, another for all other numbers: plural(2, "instance"). */
export const plural = (n, word, words = word + "s") => `${number(n)} ${n === 1 ? word : words}`;
