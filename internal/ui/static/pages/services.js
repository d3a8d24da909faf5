// All services: what there is, how it is, and what changed last. Search, filters and sorting are in the address.
import { computed, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { watching, useWatching } from "../facts.js";
import { html } from "../html.js";
import { Counts } from "../parts/counts.js";
import { number, plural } from "../parts/text.js";
import { comparer, Sortable } from "../parts/sort.js";
import { Bar, states, Troubles } from "../parts/state.js";
import { Gap, useNarrow, useRows } from "../parts/virtual.js";
import { ask, go, place, to } from "../router.js";
import { lastChange, services as store } from "../store.js";
import { Ago } from "../time.js";
import { Filter, Search, useKeys } from "./services_find.js";

const keys = {
  name: (s) => s.service,
  instances: (s) => s.instances,
  serving: (s) => (s.instances ? s.serving / s.instances : -1),
  zones: (s) => Object.keys(s.zones).length,
  versions: (s) => Object.keys(s.versions).length,
  change: (s) => Number(s.revision),
  watching: (s) => watching.value?.get(s.service) ?? 0,
};

const inState = {
  any: () => true,
  trouble: (s) => s.serving < s.instances || s.instances === 0,
  empty: (s) => s.instances === 0,
  ...Object.fromEntries(states.map((state) => [state, (s) => s[state] > 0])),
};

/** What the address asks for. */
const asked = computed(() => {
  const query = place.value.query;
  const one = (name) => query.get(name) ?? "";
  return { words: one("q").toLowerCase().split(/\s+/).filter(Boolean), state: one("state") || "any", zone: one("zone"), version: one("version"), sort: one("sort") || "name" };
});

/** The names of the services that are asked for, in order, and what there is to choose from. */
const found = computed(() => {
  store.table.version.value;
  const { words, state, zone, version, sort } = asked.value;
  const zones = new Set();
  const versions = new Set();
  const totals = { services: 0, instances: 0, serving: 0, draining: 0, unhealthy: 0, suspect: 0 };
  const rows = [];
  for (const s of store.table.values()) {
    totals.services++;
    for (const k of ["instances", ...states]) totals[k] += s[k];
    for (const z in s.zones) zones.add(z);
    for (const v in s.versions) versions.add(v);
    const name = s.service.toLowerCase();
    if (words.every((w) => name.includes(w)) && (inState[state] ?? inState.any)(s) && (!zone || zone in s.zones) && (!version || version in s.versions)) rows.push(s);
  }
  rows.sort(comparer(sort, keys, "name"));
  return { names: rows.map((s) => s.service), zones: [...zones].filter(Boolean).sort(), versions: [...versions].filter(Boolean).sort(), totals };
});

function Change({ summary }) {
  const at = lastChange(summary.service).value;
  return at ? html`<${Ago} at=${at} />` : html`<span class="faint" title="etcd's revision: when that was is longer ago than the page has read">rev ${summary.revision}</span>`;
}

function Row({ name, index, narrow }) {
  const s = store.table.rows.get(name)?.value;
  if (!s) return null;
  const count = watching.value?.get(name) ?? 0;
  return html`<tr aria-rowindex=${index + 2}>
    <th scope="row" class="name">
      <a href=${to("services", name)} data-row=${index}><bdi>${name}</bdi></a>
      ${s.policy && html`<span class="tag" title="There is a policy">policy</span>`}
      ${narrow && html`<span class="under"><${Troubles} counts=${s} /> <${Counts} counts=${s.zones} most=${2} /> <${Change} summary=${s} /></span>`}
    </th>
    <td><${Bar} counts=${s} total=${s.instances} />${!narrow && html` <${Troubles} counts=${s} />`}</td>
    ${!narrow && html`<td><${Counts} counts=${s.zones} /></td><td><${Counts} counts=${s.versions} /></td>
    ${watching.value && html`<td class="figure">${count || html`<span class="faint">–</span>`}</td>`}
    <td class="when"><${Change} summary=${s} /></td>`}
  </tr>`;
}

function Table({ names }) {
  const narrow = useNarrow();
  const height = narrow ? 60 : 38; // as in pages.css
  const body = useRef(null);
  const [from, until] = useRows(body, names.length, height, 50);
  useKeys(names.length, height, body);
  const columns = narrow ? 2 : watching.value ? 6 : 5;
  return html`<table class="services" aria-rowcount=${names.length + 1}>
    <caption class="unseen">Services</caption>
    <thead><tr aria-rowindex="1">
      <${Sortable} name="name" initial="name" class="name">Service<//>
      <${Sortable} name="instances" initial="name" first="-">Instances<//>
      ${!narrow && html`<${Sortable} name="zones" initial="name" first="-">Zones<//><${Sortable} name="versions" initial="name" first="-">Versions<//>
      ${watching.value && html`<${Sortable} name="watching" initial="name" first="-" class="figure">Watching<//>`}
      <${Sortable} name="change" initial="name" first="-">Last change<//>`}
    </tr></thead>
    <tbody ref=${body}>
      <${Gap} key="\n" rows=${from} height=${height} columns=${columns} />
      ${names.slice(from, until).map((name, n) => html`<${Row} key=${name} name=${name} index=${from + n} narrow=${narrow} />`)}
      <${Gap} key="\r" rows=${names.length - until} height=${height} columns=${columns} />
    </tbody>
  </table>`;
}

/** What is said where there is no row. */
function Empty({ filtered }) {
  if (filtered) return html`<p class="empty">No service is like that. <button type="button" onClick=${() => ask({ q: "", state: "", zone: "", version: "" })}>Show all</button></p>`;
  return html`<div class="empty"><p>Nobody has registered yet. The first to do so appears here at once:</p>
    <pre>${`curl ${location.origin}/v1/services/hello/instances -d '{"instance": {"addr": "127.0.0.1:8080"}, "ttl": "60s"}'`}</pre></div>`;
}

function View() {
  useEffect(() => store.use(), []);
  useWatching();
  const { names, zones, versions, totals } = found.value;
  const { words, state, zone, version } = asked.value;
  const filtered = words.length > 0 || state !== "any" || zone !== "" || version !== "";
  const refused = store.refused.value;
  return html`
    <div class="heading">
      <h1 tabindex="-1">Services</h1>
      ${store.ready.value && html`<p class="sum">${plural(totals.services, "service")}, ${plural(totals.instances, "instance")} <${Troubles} counts=${totals} /></p>`}
    </div>
    <form class="find" role="search" onSubmit=${(e) => { e.preventDefault(); if (names.length) go(to("services", names[0])); }}>
      <${Search} />
      <${Filter} name="state" label="State" all="any state" options=${["trouble", ...states, "empty"]} />
      <${Filter} name="zone" label="Zone" all="any zone" options=${zones} />
      <${Filter} name="version" label="Version" all="any version" options=${versions} />
      <span class="sum" role="status">${filtered && store.ready.value ? `${number(names.length)} of ${number(totals.services)}` : ""}</span>
    </form>
    ${refused && html`<p class="failure" role="alert">The services cannot be shown: ${refused.message}</p>`}
    ${names.length > 0 ? html`<${Table} names=${names} />` : store.ready.value ? html`<${Empty} filtered=${filtered} />` : !refused && html`<p class="empty faint">Asking the server…</p>`}`;
}

export const services = { path: ["services"], nav: { label: "Services", href: "/services" }, title: () => "Services", View };
