// What a drain would leave.
import { html } from "../html.js";
import { service as follow } from "../store.js";
import { stateOf } from "./state.js";
import { plural } from "./text.js";

/** What is left to be called without one instance: of all, of its zone and of its version. */
export function without(instances, gone) {
  const serving = (same) => instances.filter((i) => same(i) && stateOf(i) === "serving");
  const left = (same) => serving(same).filter((i) => i.id !== gone.id).length;
  const all = () => true;
  const before = serving(all).length;
  const ends = (kind) => gone[kind] && serving((i) => i[kind] === gone[kind]).length > 0 && left((i) => i[kind] === gone[kind]) === 0;
  return { left: left(all), before, total: instances.length, empty: ["zone", "version"].filter(ends) };
}

export function Preview({ service, instance }) {
  const store = follow(service);
  store.table.version.value;
  const { left, before, empty } = without([...store.table.values()], instance);
  if (stateOf(instance) !== "serving") return html`<p class="preview">It is ${stateOf(instance)} already: ${plural(before, "instance")} to be called, as before.</p>`;
  const bad = left === 0 || empty.length > 0;
  return html`<p class=${"preview " + (bad ? "notice" : "")}>This leaves <b>${left} of ${before}</b> to be called${empty.map((kind) => html`, <b>${kind} <bdi>${instance[kind]}</bdi> empty</b>`)}.
    ${left === 0 && " Nobody is left: callers go on calling those that drain."}</p>`;
}
