// What of all that happened one wants to see. The address has it.
import { computed } from "@preact/signals";
import { html } from "../html.js";
import { kinds } from "../parts/event.js";
import { ask, place } from "../router.js";
import { services } from "../store.js";
import { localOf, timeOf } from "./timeline_moment.js";

/** The kinds as somebody looks for them. */
const groups = [
  ["Who came and went", ["JOINED", "RETURNED", "REPLACED", "LEFT", "EXPIRED", "REMOVED"]],
  ["What they report", ["CHANGED", "UNHEALTHY", "HEALTHY"]],
  ["What was decided", ["DRAINED", "WEIGHED", "UNDONE", "ENDED", "POLICY_SET", "POLICY_DELETED", "ACCEPTED"]],
  ["Trouble", ["ETCD_LOST", "ETCD_BACK", "ETCD_RESET", "GAP"]],
];

const every = groups.flatMap(([, all]) => all);
const inAddress = (kind) => kind.toLowerCase();

/** What filters nothing. */
export const none = { service: "", instance: "", actor: "", kind: "", from: "", to: "" };

/** What the address asks for. What it has that cannot be is left out. */
export const asked = computed(() => {
  const query = place.value.query;
  const has = (name) => (query.get(name) ?? "").trim();
  const named = has("kind").toUpperCase().split(",");
  return { service: has("service"), instance: has("instance"), actor: has("actor"), kinds: every.filter((k) => named.includes(k)).map((k) => "KIND_" + k), from: timeOf(has("from")), to: timeOf(has("to")) };
});

export const filtered = () => Object.keys(none).some((name) => place.value.query.get(name));

const Words = ({ name, label, list }) => html`<label class="filter"><span class="unseen">${label}</span>
  <input type="search" placeholder=${label} list=${list} autocomplete="off" spellcheck=${false} value=${place.value.query.get(name) ?? ""} onInput=${(e) => ask({ [name]: e.target.value })} /></label>`;

const Time = ({ name, label, value }) => html`<label class="filter time"><span>${label}</span>
  <input type="datetime-local" step="1" value=${localOf(value)} onChange=${(e) => ask({ [name]: timeOf(e.target.value) })} /></label>`;

function Kinds({ chosen }) {
  const words = chosen.map((k) => kinds[k][0]);
  const choose = (kind, on) => ask({ kind: every.filter((k) => (k === kind ? on : chosen.includes("KIND_" + k))).map(inAddress).join() });
  return html`<details class="kinds">
    <summary class=${words.length ? "set" : ""}>${words.length === 0 ? "Every kind" : words.length > 2 ? `${words.length} kinds` : words.join(", ")}</summary>
    <div class="choices">
      ${groups.map(([name, all]) => html`<fieldset key=${name}><legend>${name}</legend>
        ${all.map((k) => html`<label key=${k}><input type="checkbox" name=${inAddress(k)} checked=${chosen.includes("KIND_" + k)} onChange=${(e) => choose(k, e.target.checked)} />${kinds["KIND_" + k][0]}</label>`)}
      </fieldset>`)}
      ${words.length > 0 && html`<button type="button" class="quiet" onClick=${() => ask({ kind: "" })}>Every kind</button>`}
    </div>
  </details>`;
}

/** The names of services, for the browser to propose while somebody types. */
function Proposals() {
  services.table.version.value;
  return html`<datalist id="known-services">${[...services.table.rows.keys()].sort().slice(0, 1000).map((name) => html`<option key=${name} value=${name} />`)}</datalist>`;
}

export function Filters({ query }) {
  return html`<form class="find events-find" role="search" aria-label="Events" onSubmit=${(e) => e.preventDefault()}>
    <${Words} name="service" label="Service" list="known-services" />
    <${Words} name="instance" label="Instance" />
    <${Words} name="actor" label="By whom" />
    <${Kinds} chosen=${query.kinds} />
    <${Time} name="from" label="from" value=${query.from} />
    <${Time} name="to" label="to" value=${query.to} />
    ${filtered() && html`<button type="button" class="quiet" onClick=${() => ask(none)}>Show all</button>`}
    <${Proposals} />
  </form>`;
}
