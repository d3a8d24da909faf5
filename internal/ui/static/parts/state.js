// The states of instances: each by its word, its shape and its colour, so that nobody depends on one of them.
import { html } from "../html.js";

/** In the order of how much one wants to see them first. */
export const states = ["suspect", "unhealthy", "draining", "serving"];

const meaning = {
  serving: "to be called",
  draining: "finishing its work, sent nothing new",
  unhealthy: "registered, but its check fails",
  suspect: "its lease ended in doubtful circumstances; it may be alive",
  gone: "not registered",
};

const shapes = {
  serving: html`<circle cx="6" cy="6" r="5" />`,
  draining: html`<circle cx="6" cy="6" r="4.2" class="open" /><path d="M6 1.8a4.2 4.2 0 0 0 0 8.4z" />`,
  unhealthy: html`<path d="M6 .8 11.4 10.6H.6z" />`,
  suspect: html`<path d="M6 1 11 6 6 11 1 6z" class="open" /><path d="M6 3.6v2.8M6 7.9v.6" class="open" />`,
  gone: html`<path d="M2 2l8 8M10 2l-8 8" class="open" />`,
  plain: html`<path d="M1.5 6h9" class="open" />`,
};

/** What counts of an instance, as the API's own counts have it. */
export function stateOf(instance) {
  if (instance.suspect) return "suspect";
  if (instance.effectiveState === "draining") return "draining";
  return instance.health?.failing ? "unhealthy" : "serving";
}

export const Shape = ({ state }) => html`<svg class="shape" viewBox="0 0 12 12" aria-hidden="true">${shapes[state]}</svg>`;

export const State = ({ state }) => html`<span class=${"state " + state} title=${meaning[state]}><${Shape} state=${state} />${state}</span>`;

/** How many there are of each, in words: "2 serving, 1 draining". */
export function wording(counts) {
  const parts = states.toReversed().filter((s) => counts[s]).map((s) => `${counts[s]} ${s}`);
  return parts.join(", ") || "no instances";
}

/** How many there are of each, as a bar with the number of those that serve. */
export function Bar({ counts, total }) {
  const words = wording(counts);
  return html`<span class="bar" title=${words}>
    <span class="track" aria-hidden="true">
      ${states.toReversed().map((s) => counts[s] > 0 && html`<span key=${s} class=${s} style=${{ flexGrow: counts[s] }}></span>`)}
    </span>
    <span class="number" aria-hidden="true">${counts.serving}<span class="of">/${total}</span></span>
    <span class="unseen">${words}</span>
  </span>`;
}

/** The marks of all states that are there and are no good, small. */
export const Troubles = ({ counts }) =>
  states.filter((s) => s !== "serving" && counts[s]).map((s) => html`<span key=${s} class=${"state small " + s} title=${`${counts[s]} ${s}`}><${Shape} state=${s} />${counts[s]}<span class="unseen"> ${s}</span></span>`);

/** Counts instances by state. */
export function count(instances) {
  const counts = { serving: 0, draining: 0, unhealthy: 0, suspect: 0 };
  for (const i of instances) counts[stateOf(i)]++;
  return counts;
}
