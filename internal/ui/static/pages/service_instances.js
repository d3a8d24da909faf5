// The instances of a service, grouped by where they run or by what they run.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { Acts } from "../parts/acts.js";
import { Lease } from "../parts/lease.js";
import { count, State, stateOf, wording } from "../parts/state.js";
import { comparer, Sortable } from "../parts/sort.js";
import { Name, plural } from "../parts/text.js";
import { Gap, useNarrow, useRows } from "../parts/virtual.js";
import { ask, place, to } from "../router.js";
import { service as follow } from "../store.js";
import { Ago } from "../time.js";

const keys = {
  state: stateOf,
  id: (i) => i.id,
  zone: (i) => i.zone,
  version: (i) => i.version,
  weight: (i) => i.effectiveWeight,
  since: (i) => i.registered ?? "",
};

const ways = [["zone", "by zone"], ["version", "by version"], ["none", "not grouped"]];

/** The rows of the table: of each group its head, and then its instances. */
function rowsOf(instances, group, sort) {
  const sorted = instances.toSorted(comparer(sort, keys, "id"));
  if (group === "none") return sorted.map((i) => ({ id: i.id }));
  const groups = Map.groupBy(sorted, (i) => i[group]);
  return [...groups.keys()].sort().flatMap((name) => [{ head: name, members: groups.get(name) }, ...groups.get(name).map((i) => ({ id: i.id }))]);
}

/** What an operator or a check says about it, in a line. */
export function Notes({ instance }) {
  const { override, health, suspect } = instance;
  return html`<span class="notes">
    ${override && html`<span class="note" title=${override.reason}>
      ${override.drain ? "drained" : "weighed"}${override.author && html` by <bdi>${override.author}</bdi>`}${override.reason && html`: <${Name} text=${override.reason} />`}
      ${override.until && html` <small>ends <${Ago} at=${override.until} /></small>`}
    </span>`}
    ${health?.failing && html`<span class="note bad">check: <bdi>${health.detail || "fails"}</bdi>${health.since && html` <small><${Ago} at=${health.since} /></small>`}</span>`}
    ${suspect && html`<span class="note">its lease has ended; it may be alive</span>`}
  </span>`;
}

/** Own weight, and the one that counts if that is another. */
export function Weight({ instance }) {
  const own = instance.weight || 100;
  return own === instance.effectiveWeight ? own : html`<b>${instance.effectiveWeight}</b> <s title="its own">${own}</s>`;
}

function Row({ service, id, narrow }) {
  const row = follow(service).table.rows.get(id);
  const [fresh, setFresh] = useState(false);
  const i = row?.value;
  const state = i && stateOf(i);
  const last = useRef(state);
  useEffect(() => {
    if (last.current === state) return;
    last.current = state;
    setFresh(true);
    const timer = setTimeout(() => setFresh(false), 2000);
    return () => clearTimeout(timer);
  }, [state]);
  if (!i) return null;
  return html`<tr class=${fresh ? "fresh" : ""}>
    <td><${State} state=${state} /></td>
    <th scope="row" class="name"><a href=${to("services", service, id)}><${Name} text=${id} /></a>${i.addr !== id && html` <span class="faint"><bdi>${i.addr}</bdi></span>`}
      ${narrow && html`<span class="under"><bdi>${i.zone || "no zone"}</bdi> <bdi>${i.version || "no version"}</bdi> <${Lease} service=${service} instance=${i} /> <${Notes} instance=${i} /></span>`}</th>
    ${!narrow && html`<td><${Name} text=${i.zone || "–"} /></td>
    <td class="version"><${Name} text=${i.version || "–"} /></td>
    <td class="figure"><${Weight} instance=${i} /></td>
    <td class="when">${i.registered ? html`<${Ago} at=${i.registered} />` : "–"}</td>
    <td class="figure lasts"><${Lease} service=${service} instance=${i} /></td>
    <td class="notes"><${Notes} instance=${i} /></td>`}
    <td class="end"><${Acts} service=${service} instance=${i} small /></td>
  </tr>`;
}

const Head = ({ group, name, members, columns }) => html`<tr class="group"><th scope="rowgroup" colspan=${columns}><span class="faint">${group}</span> <bdi>${name || "none"}</bdi>
  <span class="faint">${plural(members.length, "instance")}: ${wording(count(members))}</span></th></tr>`;

export function Instances({ service, instances }) {
  const narrow = useNarrow();
  const body = useRef(null);
  const query = place.value.query;
  const group = ways.some(([w]) => w === query.get("group")) ? query.get("group") : "zone";
  const rows = rowsOf(instances, group, query.get("sort") || "id");
  const height = narrow ? 64 : 40; // as in pages.css
  const columns = narrow ? 3 : 9;
  const [from, until] = useRows(body, rows.length, height);
  if (instances.length === 0) return html`<div class="main"><p class="empty">Nobody is registered as this service. Whoever does so appears here at once.</p></div>`;
  return html`<section class="main" aria-labelledby="instances">
    <div class="bar-of"><h2 id="instances">Instances</h2>
      <label><span class="unseen">Group instances</span><select value=${group} onChange=${(e) => ask({ group: e.target.value === "zone" ? "" : e.target.value })}>
        ${ways.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select></label></div>
    <table class=${"instances" + (rows.length > 150 ? " even" : "")}>
      <caption class="unseen">Instances</caption>
      <thead><tr>
        <${Sortable} name="state" initial="id">State<//><${Sortable} name="id" initial="id" class="name">Instance<//>
        ${!narrow && html`<${Sortable} name="zone" initial="id">Zone<//><${Sortable} name="version" initial="id">Version<//><${Sortable} name="weight" initial="id" first="-" class="figure">Weight<//>
        <${Sortable} name="since" initial="id" first="-">Since<//><th scope="col" class="figure lasts" title="How long it stays if no heartbeat comes">Lease</th><th scope="col">Notes</th>`}
        <td class="end"></td>
      </tr></thead>
      <tbody ref=${body}>
        <${Gap} key="\n" rows=${from} height=${height} columns=${columns} />
        ${rows.slice(from, until).map((r) => (r.id === undefined ? html`<${Head} key=${"\t" + r.head} group=${group} name=${r.head} members=${r.members} columns=${columns} />` : html`<${Row} key=${r.id} service=${service} id=${r.id} narrow=${narrow} />`))}
        <${Gap} key="\r" rows=${rows.length - until} height=${height} columns=${columns} />
      </tbody>
    </table>
  </section>`;
}
