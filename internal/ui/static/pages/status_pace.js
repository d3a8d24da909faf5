// How long a registration takes to be seen, as the server measures it, over the time that the page is open.
import { signal } from "@preact/signals";
import { html } from "../html.js";
import { brief, Plot } from "../parts/plot.js";
import { number, plural } from "../parts/text.js";
import { Ago, seconds } from "../time.js";

const most = 720; // two hours of one in ten seconds

/** @type {import("@preact/signals").Signal<{at: number, last: number, median: number, p99: number}[]>} */
const samples = signal([]);

/** Keeps what an answer says, if it is new. */
export function sample(propagation) {
  if (!propagation?.at || propagation.count === 0) return;
  const at = Date.parse(propagation.at);
  const known = samples.peek();
  if (known.length && known.at(-1).at >= at) return;
  samples.value = [...known.slice(1 - most), { at, last: seconds(propagation.last), median: seconds(propagation.median), p99: seconds(propagation.p99) }];
}

const drawn = [["the last one", "last", "dots"], ["half take no longer than", "median", "line"], ["99 of 100 no longer than", "p99", "dashes"]];

export function Pace({ propagation: p }) {
  const known = samples.value;
  return html`<section class="card" aria-labelledby="pace"><h2 id="pace">Until a registration is seen <small>measured by this server</small></h2>
    ${!p && known.length === 0 && html`<p class="faint">Not measured, or not yet: <code>--canary</code> says how often.</p>`}
    ${known.length > 0 && html`<${Plot} label=${`How long a registration takes to be seen: ${plural(known.length, "measurement")}, the last one ${brief(known.at(-1).last)}`}
      series=${drawn.map(([name, key, mark]) => ({ name, mark, points: known.map((s) => [s.at, s[key]]) }))} />`}
    ${p?.error && html`<p class="failure">The newest try failed: <bdi>${p.error}</bdi></p>`}
    ${p?.at && html`<p class="faint"><small>The last one was <${Ago} at=${p.at} />; half and 99 of 100 are of ${number(p.count)}. The plot begins when the page was opened.</small></p>`}
  </section>`;
}
