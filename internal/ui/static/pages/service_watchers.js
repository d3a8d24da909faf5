// Who watches a service through this server, and what each was told: by the API up to which revision, by xDS up to which it has acknowledged.
// Only admins may know.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import * as api from "../api.js";
import { html } from "../html.js";
import { may } from "../identity.js";
import { plural } from "../parts/text.js";
import { Ago } from "../time.js";

const pace = 3_000;
const shown = 20;

/** Browsers call themselves all of each other's names. */
const agent = (text) => (text.startsWith("Mozilla/") ? "a browser" : text || "unnamed program");

const Watcher = ({ w }) => html`<li>
  <span><bdi class="who">${w.author || w.address}</bdi> <small><bdi title=${w.agent}>${agent(w.agent)}</bdi>${w.author && html` from <bdi>${w.address}</bdi>`}${w.everything && ", all services"}</small></span>
  <span class="told">${w.current ? html`<span class="ok">current</span>` : html`<b>behind</b>`} <small>rev ${w.revision === "0" ? "none" : w.revision} · <${Ago} at=${w.since} /></small></span>
</li>`;

/** Up to which revision a client has a service, of whose versions it may ask for each by itself; "0" for none. */
function acknowledged(c, service) {
  const { names = [], revisions = [] } = c.types.find((t) => t.type === "endpoints") ?? {};
  const has = revisions.filter((_, n) => names[n].split("?")[0] === service);
  return has.length > 0 ? String(has.map(BigInt).reduce((a, b) => (a < b ? a : b))) : "0";
}

function Client({ c, service }) {
  const refusal = c.types.find((t) => t.refusal);
  const pending = c.types.some((t) => t.pending);
  const version = c.types.find((t) => t.type === "endpoints")?.version ?? "";
  const revision = acknowledged(c, service);
  return html`<li>
    <span><bdi class="who">${c.id}</bdi> <small>xDS${c.agent && html` · <bdi>${c.agent} ${c.agentVersion}</bdi>`}${c.zone && html` in <bdi>${c.zone}</bdi>`}${c.author && html`, <bdi>${c.author}</bdi>`}</small></span>
    <span class="told">${refusal ? html`<b>refused</b>` : pending ? html`<b>behind</b>` : html`<span class="ok">current</span>`} <small><span title=${version && `the version of the endpoints that it has acknowledged last: ${version}`}>rev ${revision === "0" ? "none" : revision}</span> · <${Ago} at=${c.since} /></small></span>
    ${refusal && html`<em class="note bad"><bdi>${refusal.refusal.detail}</bdi></em>`}
  </li>`;
}

/** Asks again and again while the page is looked at. */
function usePolled(service, allowed) {
  const [answer] = useState(() => signal(null));
  useEffect(() => {
    if (!allowed) return;
    const abort = new AbortController();
    const look = async () => {
      try {
        const [{ watchers }, { clients }] = await Promise.all([
          api.watchers(service, abort.signal),
          api.xdsClients(service, abort.signal).catch((failure) => (failure.refused ? { clients: [] } : Promise.reject(failure))),
        ]);
        answer.value = { watchers, clients };
      } catch (failure) {
        if (failure.refused) answer.value = null;
      }
    };
    look();
    const timer = setInterval(() => document.hidden || look(), pace);
    return () => {
      clearInterval(timer);
      abort.abort();
    };
  }, [service, allowed]);
  return answer.value;
}

export function Watchers({ service }) {
  const [all, setAll] = useState(false);
  const answer = usePolled(service, may("admin", service));
  if (!answer) return null;
  const rows = [...answer.clients.map((c) => html`<${Client} key=${"x" + c.id + c.since} c=${c} service=${service} />`), ...answer.watchers.map((w) => html`<${Watcher} key=${w.address + w.since} w=${w} />`)];
  return html`<section class="card" aria-labelledby="watchers">
    <h2 id="watchers">Watching <small>through this server</small></h2>
    ${rows.length === 0 ? html`<p class="faint">Nobody.</p>` : html`<ul class="watchers">${all ? rows : rows.slice(0, shown)}</ul>`}
    ${rows.length > shown && html`<button type="button" class="quiet" onClick=${() => setAll(!all)}>${all ? "Show less" : `Show all ${plural(rows.length, "watcher")}`}</button>`}
  </section>`;
}
