// How many there are of what, in one line.
import { html } from "../html.js";

/** "a 3 · b 2 · +4": counts by name, the most first. */
export function Counts({ counts, most = 3 }) {
  const sorted = Object.entries(counts).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const rest = sorted.length - most;
  return html`<span class="counts" title=${sorted.map(([name, n]) => `${name || "none"}: ${n}`).join("\n")}>
    ${sorted.slice(0, most).map(([name, n]) => html`<span key=${name} class="count"><bdi>${name || "none"}</bdi> <b>${n}</b></span>`)}
    ${rest > 0 && html`<span class="count">+${rest}</span>`}
  </span>`;
}
