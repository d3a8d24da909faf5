// Events, day by day.
import { memo } from "../parts/memo.js";
import { html } from "../html.js";
import { Kind, Story, When } from "../parts/event.js";
import { to } from "../router.js";
import { At, span } from "../time.js";
import { thereAt } from "./timeline_moment.js";

const dayOf = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/** The events of each day where we are, in their order; one whose time nobody knows is of the day of the one above it. */
function* byDay(events) {
  let current = null;
  for (const event of events) {
    const name = event.time ? dayOf.format(new Date(event.time)) : (current?.name ?? "Nobody knows when");
    if (current && current.name !== name) {
      yield current;
      current = null;
    }
    current ??= { name, events: [] };
    current.events.push(event);
  }
  if (current) yield current;
}

export const Days = ({ events }) => [...byDay(events)].map((day, n) => html`<section key=${`${n} ${day.name}`} class="day">
  <h2>${day.name}</h2>
  <ol class="events timeline">${day.events.map((e) => html`<${Row} key=${e.sequence} event=${e} />`)}</ol>
</section>`);

/** An instance beside what names it: its address, if that is not its id, where it is, and what it runs. */
function About({ event: e }) {
  if (!e.service) return html`<span class="about faint">the whole registry</span>`;
  const more = [e.addr !== e.instance && e.addr, e.zone, e.version].filter(Boolean);
  return html`<span class="about"><a href=${to("services", e.service)}><bdi>${e.service}</bdi></a>${e.instance && html` <a href=${to("services", e.service, e.instance)}><bdi>${e.instance}</bdi></a>`}
    ${more.length > 0 && html` <small>${more.map((m, n) => html`${n > 0 && " · "}<bdi>${m}</bdi>`)}</small>`}</span>`;
}

/** How long that was, which has ended. */
function Lasted({ event: e }) {
  if (!e.since || !e.time) return null;
  return html`<small>after ${span((Date.parse(e.time) - Date.parse(e.since)) / 1000)}, since <${At} at=${e.since} /></small>`;
}

/** The ways back: as it was just before that, and with it. */
function Then({ event: e }) {
  if (Number(e.revision) < 2) return html`<span class="then"></span>`;
  const name = html`<span class="unseen"> revision ${e.revision} in ${e.service || "the registry"}</span>`;
  return html`<span class="then">as it was${" "}<a href=${thereAt(Number(e.revision) - 1, e.service)}>before${name}</a>,${" "}<a href=${thereAt(e.revision, e.service)}>then${name}</a></span>`;
}

const Row = memo(({ event }) => html`<li class=${event.fresh ? "fresh" : ""}>
  <span class="what"><${Kind} kind=${event.kind} /></span>
  <${About} event=${event} />
  <span class="story"><${Story} event=${event} /> <${Lasted} event=${event} /></span>
  <span class="at"><${When} event=${event} /></span>
  <${Then} event=${event} />
</li>`, (a, b) => a.event === b.event);
