// Things that happened, as the history tells them.
import { html } from "../html.js";
import { to } from "../router.js";
import { Ago, At, seconds, span } from "../time.js";
import { Shape } from "./state.js";
import { Name } from "./text.js";

/** What each kind is called, and what its mark is like. @type {Record<string, [string, string]>} */
export const kinds = {
  KIND_JOINED: ["joined", "serving"],
  KIND_LEFT: ["left", "gone"],
  KIND_EXPIRED: ["expired", "unhealthy"],
  KIND_REMOVED: ["removed", "gone"],
  KIND_REPLACED: ["replaced", "serving"],
  KIND_RETURNED: ["returned", "serving"],
  KIND_CHANGED: ["changed", "plain"],
  KIND_DRAINED: ["drained", "draining"],
  KIND_WEIGHED: ["weighed", "plain"],
  KIND_UNDONE: ["undone", "plain"],
  KIND_ENDED: ["ended", "plain"],
  KIND_POLICY_SET: ["policy set", "plain"],
  KIND_POLICY_DELETED: ["policy taken back", "plain"],
  KIND_ACCEPTED: ["losses believed", "plain"],
  KIND_UNHEALTHY: ["unhealthy", "unhealthy"],
  KIND_HEALTHY: ["healthy", "serving"],
  KIND_ETCD_LOST: ["etcd lost", "unhealthy"],
  KIND_ETCD_BACK: ["etcd back", "serving"],
  KIND_ETCD_RESET: ["etcd reset", "unhealthy"],
  KIND_GAP: ["gap", "suspect"],
};

export function Kind({ kind }) {
  const [word, mark] = kinds[kind] ?? [kind.replace(/^KIND_/, "").replaceAll("_", " ").toLowerCase(), "plain"];
  return html`<span class=${"state kind " + mark}><${Shape} state=${mark} />${word}</span>`;
}

/** When it happened, and by how much that may be too late. */
export function When({ event }) {
  if (!event.time) return html`<span class="faint" title="No clock was written down near it">unknown</span>`;
  return html`<${At} at=${event.time} /> <small>${event.within && html`<span title=${`at most ${span(seconds(event.within))} earlier: a server read it from the past`}>± ${span(seconds(event.within))}</span> · `}<${Ago} at=${event.time} /></small>`;
}

/** What else is known: who, why, what exactly. */
export const Story = ({ event: e }) => html`${e.actor && html`by <bdi>${e.actor}</bdi>${e.reason ? ": " : " "}`}${e.reason && html`<${Name} text=${e.reason} /> `}${e.detail && html`<span class="faint"><bdi>${e.detail}</bdi></span> `}${e.until && html`<small>until <${At} at=${e.until} /></small>`}`;

/** A list of events, the newest first. `about` says whether services and instances are to be named. */
export const Events = ({ events, about }) => html`<ol class="events">
  ${events.map((e) => html`<li key=${e.sequence + "@" + e.revision}>
    <span class="what"><${Kind} kind=${e.kind} /></span>
    ${about && html`<span class="about">${e.service && html`<a href=${to("services", e.service)}><bdi>${e.service}</bdi></a>`}${e.instance && html` <a href=${to("services", e.service, e.instance)}><bdi>${e.instance}</bdi></a>`}</span>`}
    <span class="story"><${Story} event=${e} /></span>
    <span class="at"><${When} event=${e} /></span>
  </li>`)}
</ol>`;
