// Times as people read them: where they are, and how long ago. UTC is shown when one points at it.
import { signal } from "@preact/signals";
import { html } from "./html.js";

/** The time, to the second; it stands still while nobody looks. */
export const now = signal(Date.now());

setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) now.value = Date.now();
});

const steps = [
  [60, 1, "s"],
  [3600, 60, "m"],
  [86400, 3600, "h"],
  [Infinity, 86400, "d"],
];

/** A length of time in one unit, two where the first is small: 40s, 3m, 1h 20m, 12d. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const n = steps.findIndex(([below]) => s < below);
  const [, unit, letter] = steps[n];
  const whole = Math.floor(s / unit);
  const small = n > 1 && whole < 10 ? Math.floor((s - whole * unit) / steps[n - 1][1]) : 0;
  return `${whole}${letter}` + (small ? ` ${small}${steps[n - 1][2]}` : "");
}

export const seconds = (duration) => (duration ? parseFloat(duration) : 0);

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** A moment where we are, without the date if it is today's. */
export function moment(at) {
  const date = new Date(at);
  return day.format(date) === day.format(new Date()) ? clock.format(date) : local.format(date);
}

const utc = (at) => new Date(at).toISOString().replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");

/** "3m ago", which counts on, or "in 3m". */
export function Ago({ at }) {
  const date = new Date(at);
  const passed = (now.value - date) / 1000;
  const text = passed < 1 && passed > -1 ? "now" : passed > 0 ? `${span(passed)} ago` : `in ${span(-passed)}`;
  return html`<time datetime=${date.toISOString()} title=${`${local.format(date)} · ${utc(at)}`}>${text}</time>`;
}

/** A moment, with how long ago that is for those who point at it. */
export function At({ at }) {
  const date = new Date(at);
  return html`<time datetime=${date.toISOString()} title=${utc(at)}>${moment(at)}</time>`;
}
