// Events, day by day.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { Kind, Story, When } from "../parts/event.js";
import { memo } from "../parts/memo.js";
import { to } from "../router.js";
import { At, span } from "../time.js";
import { thereAt } from "./timeline_moment.js";

const dayOf = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/** The events of each day where we are, in their order; one whose time nobody knows is of the day of the one above it. */
function* byDay(events) {
  let current = null;
  const times = new Map(); // that a day has come up: clocks differ
  for (const event of events) {
    const name = event.time ? dayOf.format(new Date(event.time)) : (current?.name ?? "Nobody knows when");
    if (current && current.name !== name) {
      yield current;
      current = null;
    }
    if (!current) {
      times.set(name, (times.get(name) ?? 0) + 1);
      current = { name, key: `${name} ${times.get(name)}`, events: [] };
    }
    current.events.push(event);
  }
  if (current) yield current;
}

/** The first of rows that can be seen, as they lie one below the other. */
function firstInSight(rows) {
  let [from, to] = [0, rows.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (rows[middle].getBoundingClientRect().bottom > 0) to = middle;
    else from = middle + 1;
  }
  return rows[from];
}

/** Tells a stretch where one reads in it, and keeps that in its place on the screen when rows above it come or go: not every browser does. */
function useReading(ref, stretch, events) {
  const row = useRef(null); // the first in sight; not the newest one, above which one wants to see what comes
  const top = row.current?.getBoundingClientRect().top; // as it was before this is drawn
  useLayoutEffect(() => {
    const moved = row.current?.isConnected ? row.current.getBoundingClientRect().top - top : 0;
    if (moved) scrollBy(0, moved);
  }, [events]);
  useEffect(() => {
    const hear = () => {
      const rows = ref.current.querySelectorAll("li");
      const first = firstInSight(rows);
      row.current = first && (first !== rows[0] || !stretch.attached) ? first : null;
      stretch.reading = row.current ? Number(first.dataset.sequence) : Infinity;
    };
    hear();
    addEventListener("scroll", hear, { passive: true });
    return () => removeEventListener("scroll", hear);
  }, [stretch]);
}

/** The days of a stretch, below what is above them. */
export function Days({ stretch, children }) {
  const ref = useRef(null);
  const events = stretch.events.value;
  useReading(ref, stretch, events);
  return html`<div class="days" ref=${ref}>${children}${[...byDay(events)].map((day) => html`<section key=${day.key} class="day">
    <h2>${day.name}</h2>
    <ol class="events timeline">${day.events.map((e) => html`<${Row} key=${e.sequence} event=${e} />`)}</ol>
  </section>`)}</div>`;
}

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

const Row = memo(({ event }) => html`<li class=${event.fresh ? "fresh" : ""} data-sequence=${event.sequence}>
  <span class="what"><${Kind} kind=${event.kind} /></span>
  <${About} event=${event} />
  <span class="story"><${Story} event=${event} /> <${Lasted} event=${event} /></span>
  <span class="at"><${When} event=${event} /></span>
  <${Then} event=${event} />
</li>`, (a, b) => a.event === b.event);
