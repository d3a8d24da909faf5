// One service: its instances, what was decided for it, who watches it, and how to call it.
import { useEffect } from "preact/hooks";
import { html } from "../html.js";
import { Accept, ActDialog } from "../parts/acts.js";
import { count, Troubles, wording } from "../parts/state.js";
import { service as follow } from "../store.js";
import { Connect } from "./service_connect.js";
import { Instances } from "./service_instances.js";
import { Policy } from "./service_policy.js";
import { Traffic } from "./service_traffic.js";
import { Watchers } from "./service_watchers.js";

function View({ service }) {
  const store = follow(service);
  useEffect(() => store.use(), [store]);
  store.table.version.value;
  const instances = [...store.table.values()];
  const counts = count(instances);
  const refused = store.refused.value;
  if (refused) return html`<${Head} service=${service} /><p class="failure" role="alert">This service cannot be shown: ${refused.message}</p>`;
  if (!store.ready.value) return html`<${Head} service=${service} /><p class="empty faint">Asking the server…</p>`;
  return html`
    <${Head} service=${service}>
      <p class="sum">${wording(counts)} <${Troubles} counts=${counts} /> <span class="faint" title="etcd's revision, as of which this is complete">rev ${store.revision}</span></p>
    <//>
    ${counts.suspect > 0 && html`<p class="notice">The leases of ${counts.suspect} ended together with most others, or with etcd's history. They may well be alive and are kept for a while. <${Accept} service=${service} /></p>`}
    <div class="columns">
      <${Instances} service=${service} instances=${instances} />
      <div class="aside">
        <${Traffic} instances=${instances} policy=${store.policy.value} />
        <${Policy} service=${service} />
        <${Watchers} service=${service} />
        <${Connect} service=${service} />
      </div>
    </div>
    <${ActDialog} />`;
}

const Head = ({ service, children }) => html`<div class="heading">
  <p class="crumbs"><a href="/services">Services</a> <span aria-hidden="true">/</span></p>
  <h1 tabindex="-1"><bdi>${service}</bdi></h1>
  ${children}
</div>`;

export const service = { path: ["services", ":service"], title: (p) => p.service, View };
