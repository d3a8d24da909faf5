// The members of etcd.
import { html } from "../html.js";
import { brief } from "../parts/plot.js";
import { Shape } from "../parts/state.js";
import { Name } from "../parts/text.js";
import { seconds } from "../time.js";

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A number of bytes with three figures and its unit. */
function bytes(n) {
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, n)) / 10)));
  return `${Number((n / 1024 ** unit).toPrecision(3))} ${units[unit]}`;
}

const percent = (part, whole) => `${Math.min(100, (100 * part) / whole)}%`;

/** How large a member's store is: what is used of its file, and the file of what it may be. */
function Space({ member: m }) {
  const [size, used, quota] = [Number(m.size), Number(m.inUse), Number(m.quota)];
  const whole = quota || size;
  if (!whole) return html`<span class="faint">unknown</span>`;
  const words = `${bytes(used)} in use of ${bytes(size)}${quota ? `, quota ${bytes(quota)} (${Number(((100 * size) / quota).toPrecision(2))} %)` : ", quota unknown"}`;
  return html`<span class="space"><span class="track" aria-hidden="true"><span class="size" style=${{ width: percent(size, whole) }}></span><span class="used" style=${{ width: percent(used, whole) }}></span></span><small>${words}</small></span>`;
}

const role = (m) => (m.error ? ["away", "unhealthy"] : m.leader ? ["leader", "serving"] : m.learner ? ["learner", "suspect"] : ["follower", "plain"]);

function Member({ member: m }) {
  const [word, mark] = role(m);
  return html`<tr>
    <td><span class=${"state " + mark}><${Shape} state=${mark} />${word}</span></td>
    <th scope="row"><${Name} text=${m.name || "unnamed"} /> <small><code>${m.id}</code> <bdi>${m.endpoints.join(", ")}</bdi></small>${m.error && html`<em class="note bad"><${Name} text=${m.error} /></em>`}</th>
    <td><bdi>${m.version}</bdi></td>
    <td>${m.error ? html`<span class="faint">unknown</span>` : html`<${Space} member=${m} />`}</td>
    <td class="figure">${m.took && html`<span class="label">answered in </span>${brief(seconds(m.took))}`}</td>
  </tr>`;
}

export function Etcd({ etcd }) {
  if (!etcd) return null;
  return html`<section class="card" aria-labelledby="etcd"><h2 id="etcd">etcd <small>${etcd.embedded ? "inside the servers" : "a cluster of its own"}</small></h2>
    ${etcd.members.length === 0 ? html`<p class="faint">No member is known.</p>` : html`<div class="wide"><table><caption class="unseen">Members of etcd</caption>
      <thead><tr><th scope="col">Role</th><th scope="col">Member</th><th scope="col">Version</th><th scope="col">Store</th><th scope="col" class="figure">Answered in</th></tr></thead>
      <tbody>${etcd.members.map((m, n) => html`<${Member} key=${m.id || n} member=${m} />`)}</tbody></table></div>`}
    <p class="faint"><small>${etcd.alarms.length === 0 ? "No alarm is raised." : html`Alarms: ${etcd.alarms.join(", ")}.`}</small></p>
  </section>`;
}
