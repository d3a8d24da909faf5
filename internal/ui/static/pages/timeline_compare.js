// What changed between two moments.
import { useEffect, useState } from "preact/hooks";
import { get } from "../api.js";
import { html } from "../html.js";
import { Shape } from "../parts/state.js";
import { Name, plural } from "../parts/text.js";
import { ask, place, to } from "../router.js";
import { services } from "../store.js";
import { Forgotten, localOf, Moment, momentOf, thereAt, timeOf, useAnswer } from "./timeline_moment.js";

const ops = { OP_ADD: ["came", "serving"], OP_MODIFY: ["changed", "plain"], OP_DELETE: ["went", "gone"] };

const Op = ({ op }) => html`<span class=${"state " + ops[op][1]}><${Shape} state=${ops[op][1]} />${ops[op][0]}</span>`;

function Changed({ d, service }) {
  const i = d.after ?? d.before;
  const id = html`<${Name} text=${i.id} />`;
  return html`<tr>
    <td><${Op} op=${d.op} /></td>
    <th scope="row">${d.after ? html`<a href=${to("services", service, i.id)}>${id}</a>` : id}${i.addr !== i.id && html` <small><bdi>${i.addr}</bdi></small>`}</th>
    <td><small>${[i.zone, i.version].filter(Boolean).map((x, n) => html`${n > 0 && " · "}<bdi>${x}</bdi>`)}</small></td>
    <td class="story"><${Name} text=${d.detail} /></td>
  </tr>`;
}

const text = (policy) => (policy ? JSON.stringify(policy.document, null, 2) : "none");

function Policies({ before, after }) {
  if ((before?.revision ?? "0") === (after?.revision ?? "0")) return null;
  return html`<div class="pair policies"><div><h3>Policy before</h3><pre tabindex="0">${text(before)}</pre></div><div><h3>Policy after</h3><pre tabindex="0">${text(after)}</pre></div></div>`;
}

const Service = ({ d }) => html`<section class="changed">
  <h2><a href=${to("services", d.service)}><bdi>${d.service}</bdi></a></h2>
  ${d.instances.length > 0 && html`<div class="wide"><table class="then"><caption class="unseen">What changed in ${d.service}</caption>
    <thead><tr><th scope="col">What</th><th scope="col">Instance</th><th scope="col">Where</th><th scope="col">How</th></tr></thead>
    <tbody>${d.instances.map((i) => html`<${Changed} key=${(i.after ?? i.before).id} d=${i} service=${d.service} />`)}</tbody></table></div>`}
  <${Policies} before=${d.policyBefore} after=${d.policyAfter} />
</section>`;

const Time = ({ name, label, at }) => html`<label class="filter time"><span>${label}</span>
    <input type="datetime-local" step="1" value=${localOf(at?.time)} onChange=${(e) => ask({ [name]: timeOf(e.target.value) })} /></label>
  <label class="filter revision"><span>or revision</span>
    <input type="number" min="1" step="1" aria-label=${`${label}: etcd's revision`} value=${at?.revision ?? ""} onChange=${(e) => ask({ [name]: e.target.value })} /></label>`;

const long = [[600, "10 minutes ago"], [3600, "1 hour ago"], [6 * 3600, "6 hours ago"], [24 * 3600, "1 day ago"]];

const Quick = () => html`<p class="quick">Since ${long.map(([s, name]) => html`<button type="button" class="quiet" key=${s} onClick=${() => ask({ from: timeOf(new Date(Date.now() - s * 1000).toISOString()), to: "" })}>${name}</button>`)}</p>`;

const page = 100; // services that are shown at once

function Result({ from, to: until, service }) {
  const [shown, setShown] = useState(page);
  const key = JSON.stringify([from, until, service]);
  const [answer, failure] = useAnswer(() => get("/v1/diff", { service, from_revision: from.revision, from_time: from.time, to_revision: until?.revision, to_time: until?.time }), key);
  if (failure) return html`<${Forgotten} failure=${failure} service=${service} />`;
  if (!answer) return html`<p class="empty faint">Asking etcd…</p>`;
  const sum = answer.services.reduce((n, s) => n + s.instances.length, 0);
  return html`<p class="between">From <a href=${thereAt(answer.from.revision, service)}><${Moment} at=${answer.from} /></a> to ${until ? html`<a href=${thereAt(answer.to.revision, service)}><${Moment} at=${answer.to} /></a>` : html`<b>now</b>, revision ${answer.to.revision}`}:
      ${" "}<b>${answer.services.length === 0 ? "nothing changed" : `${plural(sum, "instance")} in ${plural(answer.services.length, "service")}`}</b></p>
    ${answer.services.slice(0, shown).map((d) => html`<${Service} key=${d.service} d=${d} />`)}
    ${answer.services.length > shown && html`<p class="ends"><button type="button" onClick=${() => setShown(shown + page)}>Show more of ${plural(answer.services.length, "service")}</button></p>`}`;
}

function View() {
  useEffect(() => services.use(), []); // so that one sees here, too, whether the server is there
  const query = place.value.query;
  const has = (name) => query.get(name) ?? "";
  const from = momentOf(has("from"));
  const until = momentOf(has("to"));
  return html`
    <div class="heading">
      <p class="crumbs"><a href="/timeline">Timeline</a> <span aria-hidden="true">/</span></p>
      <h1 tabindex="-1">What changed</h1>
    </div>
    <form class="find events-find" role="search" aria-label="Two moments" onSubmit=${(e) => e.preventDefault()}>
      <${Time} name="from" label="from" at=${from} />
      <${Time} name="to" label="to" at=${until} />
      <label class="filter"><span class="unseen">Service</span><input type="search" placeholder="every service" value=${has("service")} onChange=${(e) => ask({ service: e.target.value.trim() })} /></label>
    </form>
    <${Quick} />
    ${from ? html`<${Result} from=${from} to=${until} service=${has("service")} />` : html`<p class="empty">Choose the earlier moment; without a later one it is compared with now.</p>`}`;
}

export const compare = { path: ["timeline", "compare"], title: () => "What changed", View };
