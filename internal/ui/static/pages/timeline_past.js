// The registry as it was. It looks like the past: nothing here moves, and nothing can be done.
import { useEffect, useRef } from "preact/hooks";
import { get } from "../api.js";
import { html } from "../html.js";
import { Counts } from "../parts/counts.js";
import { Bar, count, State, stateOf, Troubles, wording } from "../parts/state.js";
import { Name, plural } from "../parts/text.js";
import { Gap, useNarrow, useRows } from "../parts/virtual.js";
import { to } from "../router.js";
import { services as store } from "../store.js";
import { Ago, At } from "../time.js";
import { comparison, Forgotten, Moment, momentOf, thereAt, useAnswer } from "./timeline_moment.js";

/** What changed in each service from a moment until now, counted: a map by name. */
async function changesSince(revision) {
  const diff = await get("/v1/diff", { from_revision: revision });
  return new Map(diff.services.map(({ service, instances }) => {
    const since = { came: 0, changed: 0, went: 0 };
    for (const i of instances) since[i.before ? (i.after ? "changed" : "went") : "came"]++;
    return [service, since];
  }));
}

/** What says that this is not now, and leads back. */
const Past = ({ at, failure, service }) => html`<div class="past-notice" role="note">
  <p><svg class="clock" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.5" /><path d="M8 4v4l-2.5 2" /></svg><b>This is the past</b>: ${at ? html`<${Moment} at=${at} />` : failure ? "a moment that cannot be shown" : "asking etcd…"}</p>
  <span class="acts">${at && html`<a class="button" href=${comparison({ from: at.revision, service })}>What has changed since</a>`}<a class="button main" href=${service ? to("services", service) : "/services"}>Back to now</a></span>
</div>`;

const Wrong = ({ moment }) => html`<div class="heading"><h1 tabindex="-1">No such moment</h1></div><p class="failure" role="alert">“<${Name} text=${moment} />” is neither a revision of etcd nor a time. <a href="/timeline">The timeline</a></p>`;

const words = (since) => Object.entries(since).filter(([, n]) => n > 0).map(([word, n]) => `${n} ${word}`).join(", ") || "its policy";

/** What changed in a service since; nothing is said while etcd has not said it. */
function Since({ service, at, changes, failure }) {
  if (failure) return html`<span class="faint" title=${failure.message}>cannot be told</span>`;
  if (!changes) return html`<span class="faint">…</span>`;
  const since = changes.get(service);
  if (!since) return html`<span class="faint">nothing changed</span>`;
  return html`<a href=${comparison({ from: at.revision, service })} aria-label=${`${words(since)} in ${service} since then`}>${words(since)}</a>`;
}

/** Even he who looks at the past wants to know whether the server is there. */
const useNow = () => useEffect(() => store.use(), []);

const whole = 150; // rows; up to so many all are drawn

function Row({ summary: s, index, at, narrow, changes, failure }) {
  const since = html`<${Since} service=${s.service} at=${at} changes=${changes} failure=${failure} />`;
  return html`<tr aria-rowindex=${index + 2}>
    <th scope="row"><a href=${thereAt(at.revision, s.service)}><bdi>${s.service}</bdi></a>${s.policy && html`<span class="tag" title="There was a policy">policy</span>`}
      ${narrow && html`<span class="under"><${Counts} counts=${s.zones} most=${2} /> ${since}</span>`}</th>
    <td><${Bar} counts=${s} total=${s.instances} />${!narrow && html` <${Troubles} counts=${s} />`}</td>
    ${!narrow && html`<td><${Counts} counts=${s.zones} /></td><td><${Counts} counts=${s.versions} /></td><td>${since}</td>`}
  </tr>`;
}

function Table({ services, at }) {
  const narrow = useNarrow();
  const height = narrow ? 60 : 38; // as in timeline.css
  const body = useRef(null);
  const [from, until] = useRows(body, services.length, height, whole);
  const [changes, failure] = useAnswer(() => changesSince(at.revision), at.revision);
  const columns = narrow ? 2 : 5;
  return html`<table class=${"then registry" + (services.length > whole ? " even" : "")} aria-rowcount=${services.length + 1}><caption class="unseen">Services as they were</caption>
    <thead><tr aria-rowindex="1"><th scope="col" class="name">Service</th><th scope="col">Instances</th>${!narrow && html`<th scope="col">Zones</th><th scope="col">Versions</th><th scope="col">Since then</th>`}</tr></thead>
    <tbody ref=${body}>
      <${Gap} key="\n" rows=${from} height=${height} columns=${columns} />
      ${services.slice(from, until).map((s, n) => html`<${Row} key=${s.service} summary=${s} index=${from + n} ...${{ at, narrow, changes, failure }} />`)}
      <${Gap} key="\r" rows=${services.length - until} height=${height} columns=${columns} />
    </tbody></table>`;
}

function Registry({ moment }) {
  useNow();
  const asked = momentOf(moment);
  const [answer, failure] = useAnswer(() => (asked ? get("/v1/history/services", asked) : Promise.resolve(null)), moment);
  if (!asked) return html`<${Wrong} moment=${moment} />`;
  const services = answer?.services ?? [];
  return html`<div class="past">
    <${Past} at=${answer?.at} failure=${failure} />
    <div class="heading">
      <p class="crumbs"><a href="/timeline">Timeline</a> <span aria-hidden="true">/</span></p>
      <h1 tabindex="-1">The registry as it was</h1>
      ${answer && html`<p class="sum">${plural(services.length, "service")}, ${plural(services.reduce((n, s) => n + s.instances, 0), "instance")}</p>`}
    </div>
    ${failure && html`<${Forgotten} failure=${failure} />`}
    ${answer && (services.length === 0 ? html`<p class="empty">Nobody was registered then.</p>` : html`<${Table} services=${services} at=${answer.at} />`)}
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
