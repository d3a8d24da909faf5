// One instance: all that it says, what was decided for it, what a check found, and what happened to it.
import { useEffect } from "preact/hooks";
import { html } from "../html.js";
import { ActDialog, Acts } from "../parts/acts.js";
import { Lease } from "../parts/lease.js";
import { State, stateOf } from "../parts/state.js";
import { Copy, Long, Name } from "../parts/text.js";
import { to } from "../router.js";
import { service as follow } from "../store.js";
import { Ago, At, seconds, span } from "../time.js";
import { History } from "./instance_history.js";
import { Weight } from "./service_instances.js";

const Fact = ({ name, children }) => html`<dt>${name}</dt><dd>${children}</dd>`;

const Since = ({ at }) => html`<${At} at=${at} /> <small><${Ago} at=${at} /></small>`;

function Says({ i, service, there }) {
  return html`<section class="card" aria-labelledby="says"><h2 id="says">What it says</h2><dl class="facts">
    <${Fact} name="Address"><bdi class="mono">${i.addr}</bdi> <${Copy} text=${i.addr} what="the address" /><//>
    ${Object.entries(i.addrs).sort().map(([name, addr]) => html`<${Fact} key=${name} name=${html`Address <bdi>${name}</bdi>`}><bdi class="mono">${addr}</bdi><//>`)}
    <${Fact} name="Zone"><${Name} text=${i.zone || "none"} /><//>
    <${Fact} name="Version"><${Name} text=${i.version || "none"} /><//>
    <${Fact} name="Weight"><${Weight} instance=${i} /><//>
    <${Fact} name="Own state">${i.state || "serving"}<//>
    ${i.registered && html`<${Fact} name="Registered"><${Since} at=${i.registered} /><//>`}
    ${there && html`<${Fact} name="Lease"><${Lease} service=${service} instance=${i} /><//>`}
    <${Fact} name="TTL">${i.ttl ? html`${span(seconds(i.ttl))} <small>for so long it outlives its last heartbeat</small>` : "not said"}<//>
    <${Fact} name="Incarnation"><span class="mono">${i.incarnation || "none"}</span><//>
    <${Fact} name="Revision">${i.revision} <small>there since ${i.createRevision}</small><//>
  </dl></section>`;
}

function Decided({ o }) {
  return html`<section class="card" aria-labelledby="decided"><h2 id="decided">What was decided</h2>
    ${!o ? html`<p class="faint">Nothing: what it says of itself counts.</p>` : html`<dl class="facts">
      <${Fact} name="Decision">${[o.drain && "drained", o.weight > 0 && `weight ${o.weight}`].filter(Boolean).join(", ")}<//>
      <${Fact} name="Why"><${Long} class="prose" text=${o.reason || "no reason given"} /><//>
      <${Fact} name="By"><bdi>${o.author || "somebody who did not sign"}</bdi><//>
      ${o.since && html`<${Fact} name="Since"><${Since} at=${o.since} /><//>`}
      <${Fact} name="Until">${o.until ? html`<${Since} at=${o.until} />` : "it is undone"}<//>
      <${Fact} name="Revision">${o.revision}<//>
    </dl>`}</section>`;
}

function Checked({ check, health }) {
  if (!check && !health) return null;
  return html`<section class="card" aria-labelledby="check"><h2 id="check">Check</h2><dl class="facts">
    ${check && html`<${Fact} name="Asked for">${check.type}${check.tls && " with TLS"}${check.service && html` of <bdi>${check.service}</bdi>`}${check.path && html` <bdi class="mono">${check.path}</bdi>`}${check.addr && html` at its address <bdi>${check.addr}</bdi>`}<//>
      <${Fact} name="How often">every ${check.interval ? span(seconds(check.interval)) : "10s"}, down after ${check.fall || 3} failures, well after ${check.rise || 2} successes<//>`}
    ${health?.failing ? html`<${Fact} name="Found"><span class="note bad"><bdi>${health.detail || "it fails"}</bdi></span><//>
      ${health.since && html`<${Fact} name="Since"><${Since} at=${health.since} /><//>`}
      <${Fact} name="By the server"><bdi>${health.checker}</bdi><//>` : html`<${Fact} name="Found">nothing is known against it<//>`}
  </dl></section>`;
}

function Metadata({ i }) {
  const entries = Object.entries(i.metadata).sort();
  const raw = i.rawMetadata !== undefined && i.rawMetadata !== null;
  return html`<section class="card" aria-labelledby="metadata"><h2 id="metadata">Metadata</h2>
    ${raw ? html`<${Long} text=${JSON.stringify(i.rawMetadata, null, 2)} />` : entries.length === 0 ? html`<p class="faint">None.</p>` : html`<dl class="facts wide">
      ${entries.map(([name, value]) => html`<${Fact} key=${name} name=${html`<${Long} text=${name} />`}><${Long} text=${value} /><//>`)}
    </dl>`}</section>`;
}

/** What is said of one that is not there: it left while we looked, or it never was. */
function Absent({ departed }) {
  if (!departed) return html`<p class="notice">It is not registered now. What happened to it is below, as far as the history reaches.</p>`;
  return html`<p class="notice">It ${departed.expired ? "is gone without a goodbye" : "left"} <${Ago} at=${departed.at} />. What is shown is how it was last.</p>`;
}

function View({ service, id }) {
  const store = follow(service);
  useEffect(() => store.use(), [store]);
  store.table.version.value; // which tells when it comes or goes; what changes of it, its own signal does
  const there = store.table.rows.get(id)?.value;
  const departed = there ? undefined : store.departed.get(id);
  const i = there ?? departed?.instance;
  const refused = store.refused.value;
  return html`
    <div class="heading">
      <p class="crumbs"><a href="/services">Services</a> <span aria-hidden="true">/</span> <a href=${to("services", service)}><bdi>${service}</bdi></a> <span aria-hidden="true">/</span></p>
      <h1 tabindex="-1"><${Name} text=${id} /></h1>
      ${store.ready.value && html`<${State} state=${there ? stateOf(there) : "gone"} />`}
      ${there?.suspect && html`<span class="sum">its lease ended in doubtful circumstances; it may be alive</span>`}
      ${there && html`<${Acts} service=${service} instance=${there} />`}
    </div>
    ${refused && html`<p class="failure" role="alert">This instance cannot be shown: ${refused.message}</p>`}
    ${!refused && !store.ready.value && html`<p class="empty faint">Asking the server…</p>`}
    ${store.ready.value && !there && html`<${Absent} departed=${departed} />`}
    <div class="pair">
      <div class="cards">${i && html`<${Says} i=${i} service=${service} there=${Boolean(there)} /><${Metadata} i=${i} />`}</div>
      <div class="cards">${i && html`<${Decided} o=${i.override} /><${Checked} check=${i.check} health=${i.health} />`}
        <${History} service=${service} id=${id} revision=${i ? JSON.stringify([Boolean(there), i.revision, i.override?.revision, i.health?.revision, i.effectiveState]) : ""} /></div>
    </div>
    <${ActDialog} />`;
}

export const instance = { path: ["services", ":service", ":id"], title: (p) => `${p.id} of ${p.service}`, View };
