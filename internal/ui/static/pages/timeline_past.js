// The registry as it was. It looks like the past: nothing here moves, and nothing can be done.
import { useEffect, useRef } from "preact/hooks";
import { get } from "../api.js";
import { html } from "../html.js";
import { count, State, stateOf, Bar, Troubles, wording } from "../parts/state.js";
import { Name, plural } from "../parts/text.js";
import { Gap, useRows } from "../parts/virtual.js";
import { to } from "../router.js";
import { services } from "../store.js";
import { Ago, At } from "../time.js";
import { comparison, Forgotten, Moment, momentOf, thereAt, useAnswer } from "./timeline_moment.js";

/** All services as they are now, and the revision as of which that is complete. */
async function now() {
  const all = [];
  let token = "";
  for (;;) {
    const page = await get("/v1/services", { page_token: token });
    all.push(...page.services);
    token = page.nextPageToken;
    if (!token) return { all, revision: page.revision };
  }
}

const each = (counts, instance, by) => (counts[stateOf(instance)] += by);

/**
 * The registry as of a moment. There is no call for that; but what is now, without what has changed since, is what was then. Suspects of now
 * are not counted: in etcd, of which the past is, they are not.
 */
async function registryAt(at) {
  const { all, revision } = await now();
  const diff = await get("/v1/diff", { from_revision: at.revision, from_time: at.time, to_revision: revision });
  const then = new Map(all.map((s) => [s.service, { counts: { serving: s.serving, draining: s.draining, unhealthy: s.unhealthy, suspect: 0 }, since: null }]));
  for (const { service, instances } of diff.services) {
    const one = then.get(service) ?? { counts: count([]), since: null };
    then.set(service, one);
    one.since = { came: 0, changed: 0, gone: 0 };
    for (const i of instances) {
      if (i.before) each(one.counts, i.before, 1);
      if (i.after) each(one.counts, i.after, -1);
      one.since[i.before ? (i.after ? "changed" : "gone") : "came"]++;
    }
  }
  const rows = [...then].map(([service, { counts, since }]) => ({ service, counts, since, total: counts.serving + counts.draining + counts.unhealthy }));
  return { at: diff.from, rows: rows.filter((r) => r.total > 0).sort((a, b) => (a.service < b.service ? -1 : 1)) };
}

/** What says that this is not now, and leads back. */
const Past = ({ at, failure, service }) => html`<div class="past-notice" role="note">
  <p><svg class="clock" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.5" /><path d="M8 4v4l-2.5 2" /></svg><b>This is the past</b>: ${at ? html`<${Moment} at=${at} />` : failure ? "a moment that cannot be shown" : "asking etcd…"}</p>
  <span class="acts">${at && html`<a class="button" href=${comparison({ from: at.revision, service })}>What has changed since</a>`}<a class="button main" href=${service ? to("services", service) : "/services"}>Back to now</a></span>
</div>`;

const Wrong = ({ moment }) => html`<div class="heading"><h1 tabindex="-1">No such moment</h1></div><p class="failure" role="alert">“<${Name} text=${moment} />” is neither a revision of etcd nor a time. <a href="/timeline">The timeline</a></p>`;

function words(since) {
  const parts = [["came", since.came], ["changed", since.changed], ["went", since.gone]].filter(([, n]) => n > 0).map(([word, n]) => `${n} ${word}`);
  return parts.join(", ") || "its policy";
}

/** Even he who looks at the past wants to know whether the server is there. */
const useNow = () => useEffect(() => services.use(), []);

const [height, whole] = [38, 150]; // of rows, as in timeline.css; up to so many all are drawn

function Table({ rows, at }) {
  const body = useRef(null);
  const [from, until] = useRows(body, rows.length, height, whole);
  return html`<table class=${"then" + (rows.length > whole ? " even" : "")} aria-rowcount=${rows.length + 1}><caption class="unseen">Services as they were</caption>
    <thead><tr aria-rowindex="1"><th scope="col">Service</th><th scope="col">Instances</th><th scope="col">Since then</th></tr></thead>
    <tbody ref=${body}>
      <${Gap} key="\n" rows=${from} height=${height} columns=${3} />
      ${rows.slice(from, until).map((r, n) => html`<tr key=${r.service} aria-rowindex=${from + n + 2}>
        <th scope="row"><a href=${thereAt(at.revision, r.service)}><bdi>${r.service}</bdi></a></th>
        <td><${Bar} counts=${r.counts} total=${r.total} /> <${Troubles} counts=${r.counts} /></td>
        <td>${r.since ? html`<a href=${comparison({ from: at.revision, service: r.service })} aria-label=${`${words(r.since)} in ${r.service} since then`}>${words(r.since)}</a>` : html`<span class="faint">nothing changed</span>`}</td>
      </tr>`)}
      <${Gap} key="\r" rows=${rows.length - until} height=${height} columns=${3} />
    </tbody></table>`;
}

function Registry({ moment }) {
  useNow();
  const asked = momentOf(moment);
  const [answer, failure] = useAnswer(() => (asked ? registryAt(asked) : Promise.resolve(null)), moment);
  if (!asked) return html`<${Wrong} moment=${moment} />`;
  const rows = answer?.rows ?? [];
  return html`<div class="past">
    <${Past} at=${answer?.at} failure=${failure} />
    <div class="heading">
      <p class="crumbs"><a href="/timeline">Timeline</a> <span aria-hidden="true">/</span></p>
      <h1 tabindex="-1">The registry as it was</h1>
      ${answer && html`<p class="sum">${plural(rows.length, "service")}, ${plural(rows.reduce((n, r) => n + r.total, 0), "instance")}</p>`}
    </div>
    ${failure && html`<${Forgotten} failure=${failure} />`}
    ${answer && (rows.length === 0 ? html`<p class="empty">Nobody was registered then.</p>` : html`<${Table} rows=${rows} at=${answer.at} />`)}
  </div>`;
}

const Decided = ({ override: o }) => html`<span class="note">${o.drain ? "drained" : `weight ${o.weight}`}${o.author && html` by <bdi>${o.author}</bdi>`}${o.reason && html`: <${Name} text=${o.reason} />`}${o.until && html` <small>until <${At} at=${o.until} /></small>`}</span>`;

const Instance = ({ i }) => html`<tr>
  <td><${State} state=${stateOf(i)} /></td>
  <th scope="row"><${Name} text=${i.id} />${i.addr !== i.id && html` <small><bdi>${i.addr}</bdi></small>`}${i.override && html`<${Decided} override=${i.override} />`}${i.health?.failing && html`<em class="note bad"><bdi>${i.health.detail}</bdi></em>`}</th>
  <td><bdi>${i.zone}</bdi></td><td><bdi>${i.version}</bdi></td><td class="figure"><span class="label">weight </span>${i.effectiveWeight}</td>
  <td class="when">${i.registered && html`<${At} at=${i.registered} /> <small><${Ago} at=${i.registered} /></small>`}</td>
</tr>`;

function Service({ moment, service }) {
  useNow();
  const asked = momentOf(moment);
  const [answer, failure] = useAnswer(() => (asked ? get(to("v1", "services", service, "at"), asked) : Promise.resolve(null)), moment + " " + service);
  if (!asked) return html`<${Wrong} moment=${moment} />`;
  return html`<div class="past">
    <${Past} at=${answer?.at} failure=${failure} service=${service} />
    <div class="heading">
      <p class="crumbs"><a href="/timeline">Timeline</a> <span aria-hidden="true">/</span> <a href=${thereAt(answer?.at.revision ?? moment)}>the registry then</a> <span aria-hidden="true">/</span></p>
      <h1 tabindex="-1"><bdi>${service}</bdi> as it was</h1>
      ${answer && html`<p class="sum">${wording(count(answer.instances))}</p>`}
    </div>
    ${failure && html`<${Forgotten} failure=${failure} service=${service} />`}
    ${answer && (answer.instances.length === 0 ? html`<p class="empty">Nobody served it then.</p>` : html`<div class="wide"><table class="then"><caption class="unseen">Instances as they were</caption>
      <thead><tr><th scope="col">State</th><th scope="col">Instance</th><th scope="col">Zone</th><th scope="col">Version</th><th scope="col" class="figure">Weight</th><th scope="col">Registered</th></tr></thead>
      <tbody>${answer.instances.map((i) => html`<${Instance} key=${i.id} i=${i} />`)}</tbody></table></div>`)}
    ${answer?.policy && html`<section class="card policy-then"><h2>Its policy then</h2><pre tabindex="0">${JSON.stringify(answer.policy.document, null, 2)}</pre></section>`}
  </div>`;
}

export const registryThen = { path: ["timeline", "at", ":moment"], title: (p) => `The registry at ${p.moment}`, View: Registry };
export const serviceThen = { path: ["timeline", "at", ":moment", ":service"], title: (p) => `${p.service} at ${p.moment}`, View: Service };
