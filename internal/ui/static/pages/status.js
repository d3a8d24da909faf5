// How the servers and their etcd are: for the person on call. Only admins may know.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { get } from "../api.js";
import { broke, live, lost, mended, told } from "../connection.js";
import { html } from "../html.js";
import { may, us } from "../identity.js";
import { Shape } from "../parts/state.js";
import { Name, number } from "../parts/text.js";
import { services } from "../store.js";
import { Ago, At, now, span } from "../time.js";
import { Doctor } from "./status_doctor.js";
import { Etcd } from "./status_etcd.js";
import { Pace, sample } from "./status_pace.js";

const pace = 5_000;
const patience = 12_000; // an answer that is older is said to be

/** The last answer, and when it came. @type {import("@preact/signals").Signal<{answer: any, at: number}|null>} */
const last = signal(null);
const refusal = signal(/** @type {Error|null} */ (null));

/** Asks again and again while somebody looks. */
class Poll {
  constructor() {
    this.abort = new AbortController();
    this.up = false;
    this.look();
  }

  #mark(up) {
    if (up !== this.up) live.value = live.peek() + (up ? 1 : -1);
    this.up = up;
  }

  async look() {
    try {
      if (!document.hidden) this.#heard(await get("/v1/status", {}, AbortSignal.any([this.abort.signal, AbortSignal.timeout(2 * pace)])));
    } catch (failure) {
      if (this.abort.signal.aborted) return;
      this.#mark(false);
      if (failure.refused) {
        refusal.value = failure;
        mended(this);
      } else {
        broke(this);
      }
    }
    this.timer = setTimeout(() => this.look(), this.up ? pace : pace / 2);
  }

  #heard(answer) {
    if (this.abort.signal.aborted) return;
    last.value = { answer, at: Date.now() };
    refusal.value = null;
    mended(this);
    this.#mark(true);
    told(answer.stale);
    sample(answer.propagation);
  }

  close() {
    this.abort.abort();
    clearTimeout(this.timer);
    this.#mark(false);
    mended(this);
  }
}

function View() {
  const allowed = may("admin");
  useEffect(() => {
    if (!allowed) return services.use(); // which is told that somebody has to say who he is
    const poll = new Poll();
    return () => poll.close();
  }, [allowed]);
  if (!allowed) return html`<${Head} /><${Refused} />`;
  if (!last.value) return html`<${Head} />${refusal.value ? html`<p class="failure" role="alert">The status cannot be shown: ${refusal.value.message}</p>` : html`<p class="empty faint">Asking the server…</p>`}`;
  const { answer, at } = last.value;
  const old = lost.value || now.value - at > patience;
  return html`
    <${Head}><p class="sum">${old ? html`<b>as it was <${Ago} at=${at} /></b>` : html`asked every ${pace / 1000} s, last <${Ago} at=${at} />`} <span class="faint">· revision ${number(answer.revision)}</span></p><//>
    ${answer.etcd?.alarms.length > 0 && html`<div class="failure alarms" role="alert"><b>etcd raises alarm:</b> ${answer.etcd.alarms.join(", ")}</div>`}
    <div class="cards">
      <${Servers} servers=${answer.servers} />
      <${Etcd} etcd=${answer.etcd} />
      <div class="pair">
        <${Pace} propagation=${answer.propagation} />
        <${Registry} status=${answer} />
      </div>
      <${Doctor} />
    </div>`;
}

const Head = ({ children }) => html`<div class="heading"><h1 tabindex="-1">Status</h1>${children}</div>`;

/** What is said to who may not know: that it is so, not that something is wrong. */
function Refused() {
  const { known, name } = us().value;
  if (!known) return html`<p class="empty">How the servers are is for admins. The server has not said yet who you are.</p>`;
  return html`<p class="empty">How the servers are is for those who have the verb “admin”, and ${name ? html`<b><bdi>${name}</bdi></b> has not` : "you have not"}. Whoever keeps the rules can give it.</p>`;
}

const Servers = ({ servers }) => html`<section class="card" aria-labelledby="servers"><h2 id="servers">Servers</h2>
  ${servers.length === 0 ? html`<p class="faint">None has registered itself${" "}yet.</p>` : html`<div class="wide"><table><caption class="unseen">Servers</caption>
    <thead><tr><th scope="col">Name</th><th scope="col">gRPC</th><th scope="col">Version</th><th scope="col">Since</th></tr></thead>
    <tbody>${servers.map((s) => html`<tr key=${s.name}><th scope="row"><${Name} text=${s.name} />${s.self && html`<span class="tag">this one</span>`}</th><td><bdi>${s.addr}</bdi></td><td><bdi>${s.version}</bdi></td>
      <td>${s.since && html`<${At} at=${s.since} /> <small><${Ago} at=${s.since} /></small>`}</td></tr>`)}</tbody></table></div>`}
</section>`;

const Fact = ({ name, children }) => html`<dt>${name}</dt><dd>${children}</dd>`;

const Count = ({ state, n }) => n > 0 && html`<span class=${"state small " + state}><${Shape} state=${state} />${number(n)} ${state}</span>`;

function Registry({ status: s }) {
  const c = s.counts;
  return html`<section class="card" aria-labelledby="registry"><h2 id="registry">Registry</h2><dl class="facts">
    <${Fact} name="Services">${number(c.services)}<//>
    <${Fact} name="Instances">${number(c.instances)} ${["serving", "draining", "unhealthy", "suspect"].map((state) => html`<${Count} key=${state} state=${state} n=${c[state]} />`)}<//>
    <${Fact} name="Held here">${number(c.held)} <small>registrations that this server keeps for programs</small><//>
    <${Fact} name="Checked here">${number(c.checked)} <small>instances</small><//>
    <${Fact} name="Watches here">${number(c.streams)} <small>streams that are open</small><//>
    <${Fact} name="Views">${s.stale ? html`<b>stale</b> since <${At} at=${s.stale.since} /> (${span((now.value - Date.parse(s.stale.since)) / 1000)}): <bdi>${s.stale.reason}</bdi>` : "current"}<//>
    <${Fact} name="Revision">${number(s.revision)}<//>
    <${Fact} name="Prefix in etcd"><code><bdi>${s.prefix}</bdi></code><//>
    <${Fact} name="History">${s.history ? html`since ${s.history.time ? html`<${At} at=${s.history.time} />, ` : ""}revision ${number(s.history.revision)}${s.history.reading && html` <b>still being read</b>`}` : "none is kept"}<//>
    <${Fact} name="This server"><bdi>${s.version}</bdi>, runs since <${At} at=${s.started} /> <small><${Ago} at=${s.started} /></small><//>
  </dl></section>`;
}

export const status = {
  path: ["status"],
  get nav() {
    return may("admin") ? { label: "Status", href: "/status" } : undefined;
  },
  title: () => "Status",
  View,
};
