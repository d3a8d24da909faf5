// What the doctor finds. It takes seconds, and costs etcd something: it looks when the page is opened, and when somebody asks it to.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { get } from "../api.js";
import { html } from "../html.js";
import { brief } from "../parts/plot.js";
import { Shape } from "../parts/state.js";
import { Name, plural } from "../parts/text.js";
import { Ago, seconds } from "../time.js";

const severities = { SEVERITY_CRITICAL: ["critical", "unhealthy"], SEVERITY_WARNING: ["warning", "draining"], SEVERITY_NOTICE: ["notice", "plain"] };
const outcomes = { OUTCOME_WELL: ["well", "serving"], OUTCOME_FOUND: ["found something", "draining"], OUTCOME_UNKNOWN: ["could not be looked at", "suspect"], OUTCOME_SKIPPED: ["does not apply", "plain"] };

/** The last report; it stays when one goes elsewhere and comes back. */
const report = signal(null);
const looking = signal(/** @type {number|null} */ (null)); // since when
const failure = signal(/** @type {Error|null} */ (null));

async function look() {
  if (looking.peek() !== null) return;
  looking.value = Date.now();
  try {
    report.value = await get("/v1/doctor");
    failure.value = null;
  } catch (err) {
    failure.value = err;
  }
  looking.value = null;
}

const Marked = ({ by }) => html`<span class=${"state " + by[1]}><${Shape} state=${by[1]} />${by[0]}</span>`;

const Finding = ({ f }) => html`<li data-severity=${severities[f.severity]?.[0]}>
  <p class="title"><${Marked} by=${severities[f.severity] ?? ["unknown", "plain"]} /> <b><${Name} text=${f.title} /></b></p>
  <p class="subject"><${Name} text=${f.subject} /> <small><code>${f.id}</code></small></p>
  ${f.evidence.length > 0 && html`<ul class="evidence">${f.evidence.map((e, n) => html`<li key=${n}><${Name} text=${e} /></li>`)}</ul>`}
  <p class="advice"><b>What to do:</b> <${Name} text=${f.advice} /></p>
</li>`;

/** How long the doctor has been looking, counted in seconds. */
function Progress() {
  const [passed, setPassed] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setPassed(Math.round((Date.now() - looking.peek()) / 1000)), 500);
    return () => clearInterval(timer);
  }, []);
  return html`<p class="looking" role="status"><progress aria-label="The doctor is looking"></progress> The doctor is looking; that takes some seconds.${passed > 1 ? ` ${passed} s` : ""}</p>`;
}

function sum(examinations) {
  const of = (outcome) => examinations.filter((x) => x.outcome === outcome).length;
  return Object.keys(outcomes).filter((o) => of(o)).map((o) => `${of(o)} ${outcomes[o][0]}`).join(", ");
}

const Examined = ({ examinations }) => html`<details class="examined"><summary>${plural(examinations.length, "examination")}: ${sum(examinations)}</summary>
  <div class="wide"><table><caption class="unseen">What was looked at</caption>
    <thead><tr><th scope="col">Outcome</th><th scope="col">What</th><th scope="col">Why</th><th scope="col" class="figure">Took</th></tr></thead>
    <tbody>${examinations.map((x) => html`<tr key=${x.id}><td><${Marked} by=${outcomes[x.outcome] ?? ["unknown", "plain"]} /></td><th scope="row">${x.title} <small><code>${x.id}</code></small></th><td><${Name} text=${x.why} /></td><td class="figure">${x.took ? brief(seconds(x.took)) : ""}</td></tr>`)}</tbody></table></div>
</details>`;

export function Doctor() {
  useEffect(() => {
    look();
  }, []);
  const found = report.value;
  const busy = looking.value !== null;
  return html`<section class="card doctor" aria-labelledby="doctor">
    <div class="bar-of"><h2 id="doctor">Doctor ${found && html`<small>looked <${Ago} at=${found.time} /></small>`}</h2><button type="button" disabled=${busy} onClick=${look}>Look again</button></div>
    ${busy && html`<${Progress} />`}
    ${failure.value && !busy && html`<p class="failure" role="alert">The doctor could not look: ${failure.value.message}</p>`}
    ${found && (found.findings.length === 0 ? html`<p class="nothing"><${Marked} by=${["nothing found", "serving"]} /></p>` : html`<ul class="findings">${found.findings.map((f) => html`<${Finding} key=${f.id + f.subject} f=${f} />`)}</ul>`)}
    ${found && html`<${Examined} examinations=${found.examinations} />`}
  </section>`;
}
