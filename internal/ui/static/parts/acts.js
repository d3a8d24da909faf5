// What one may do to instances: drain, weigh, take that back; and to a service, believe its losses. Each with a reason, for those who wonder later.
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import * as api from "../api.js";
import { html } from "../html.js";
import { author, may, sign, signed } from "../identity.js";
import { service as follow } from "../store.js";
import { Dialog, Ending, Field, useAct } from "./dialog.js";
import { Preview } from "./preview.js";
import { toast } from "./toast.js";

/** The act whose dialog is open. @type {import("@preact/signals").Signal<{verb: string, service: string, instance?: any}|null>} */
const open = signal(null);

const begin = (verb, service, instance) => () => (open.value = { verb, service, instance });

/** The buttons for an instance; none for who may not. Small ones are for tables. */
export function Acts({ service, instance, small }) {
  if (!may("steer", service)) return null;
  const decided = instance.override;
  const named = (verb) => `${verb} ${instance.id}`;
  return html`<span class=${"acts" + (small ? " small" : "")}>
    ${!decided?.drain && html`<button type="button" aria-label=${named("Drain")} onClick=${begin("drain", service, instance)}>Drain</button>`}
    ${!small && html`<button type="button" aria-label=${named("Weight of")} onClick=${begin("weigh", service, instance)}>Weight</button>`}
    ${decided && html`<button type="button" aria-label=${named("Undo what was decided for")} onClick=${begin("undo", service, instance)}>Undo</button>`}
  </span>`;
}

/** The button to believe that suspects are gone. */
export const Accept = ({ service }) => may("steer", service) && html`<button type="button" onClick=${begin("accept", service)}>Believe the losses</button>`;

const lengths = [["", "until it is undone"], ["900", "for 15 minutes"], ["3600", "for 1 hour"], ["14400", "for 4 hours"], ["86400", "for 1 day"], ["604800", "for 1 week"]];

const acts = {
  drain: {
    title: (a) => `Drain ${a.instance.id}`, verb: "Drain", ends: true, danger: true,
    said: "Callers send it nothing new, and finish what they have. It is not told, and goes on living.",
    do: ({ service, instance }, f) => decide(service, instance, { drain: true, weight: instance.override?.weight ?? 0 }, f),
    done: (a) => `${a.instance.id} is draining`,
  },
  weigh: {
    title: (a) => `Weight of ${a.instance.id}`, verb: "Set the weight", ends: true, weight: true,
    said: "Its share of the calls relative to the others. 100 is what instances have that say nothing.",
    do: ({ service, instance }, f) => decide(service, instance, { drain: instance.override?.drain ?? false, weight: Number(f.weight) }, f),
    done: (a, f) => `${a.instance.id} has the weight ${f.weight}`,
  },
  undo: {
    title: (a) => `Undo what was decided for ${a.instance.id}`, verb: "Undo",
    said: "What it says of itself counts again.",
    do: ({ service, instance }, f) => api.deleteOverride(service, instance.id, { revision: f.revision, reason: f.reason, author: f.author }),
    done: (a) => `What was decided for ${a.instance.id} is undone`,
  },
  accept: {
    title: (a) => `Believe the losses of ${a.service}`, verb: "Believe them", danger: true,
    said: "Instances whose leases ended in doubtful circumstances are kept as suspects, and called if nobody else is left. Now all callers forget them.",
    do: ({ service }, f) => api.accept(service, { reason: f.reason, author: f.author }),
    done: (a) => `The suspects of ${a.service} are gone`,
  },
};

function decide(service, instance, decision, f) {
  const until = f.length ? new Date(Date.now() + Number(f.length) * 1000).toISOString() : undefined;
  return api.setOverride(service, instance.id, { ...decision, reason: f.reason, author: f.author, until, revision: f.revision });
}

/** Who signs, where the server does not know that itself. */
export const Author = ({ value, onInput }) => html`<${Field} label="Your name" hint="kept by this browser"><input value=${value} autocomplete="name" onInput=${onInput} /><//>`;

function Form({ asked, onClose }) {
  const act = acts[asked.verb];
  const instance = asked.instance;
  const [form, setForm] = useState({ reason: "", length: "", weight: String(instance?.effectiveWeight ?? 100), author: author.value, revision: instance?.override?.revision ?? "0" });
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const known = signed(asked.service);
  const [busy, failure, run] = useAct(async () => {
    const said = { ...form, reason: form.reason.trim(), author: known ? "" : form.author.trim() };
    try {
      await act.do(asked, said);
    } catch (failure) {
      throw failure.code === api.code.aborted ? await meanwhile(asked, failure, setForm) : failure;
    }
    if (!known) sign(said.author);
    toast(act.done(asked, form));
    onClose();
  });
  const weight = Number(form.weight);
  const wrong = act.weight && !(Number.isInteger(weight) && weight > 0);
  return html`<form onSubmit=${run}>
    <p>${act.said}</p>
    ${asked.verb === "drain" && html`<${Preview} service=${asked.service} instance=${instance} />`}
    ${act.weight && html`<${Field} label="Weight" error=${wrong && "A whole number above 0"}><input type="number" min="1" max="1000000" required value=${form.weight} onInput=${set("weight")} /><//>`}
    <${Field} label="Why" hint="everybody can read it"><input required maxlength="1000" autofocus value=${form.reason} onInput=${set("reason")} /><//>
    ${act.ends && html`<${Field} label="How long"><select value=${form.length} onChange=${set("length")}>${lengths.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select><//>`}
    ${!known && html`<${Author} value=${form.author} onInput=${set("author")} />`}
    <${Ending} verb=${act.verb} danger=${act.danger} busy=${busy} failure=${failure?.message} disabled=${!form.reason.trim() || wrong} onClose=${onClose} />
  </form>`;
}

/** Somebody else has decided since the dialog opened. Says who and what; the next try is about that. */
async function meanwhile({ service, instance }, failure, setForm) {
  const theirs = instance && (await api.getOverride(service, instance.id).catch(() => null));
  setForm((form) => ({ ...form, revision: theirs?.revision ?? "0" }));
  const what = !theirs ? "taken it back" : theirs.drain ? "drained it" : `set its weight to ${theirs.weight}`;
  const said = theirs ? `${theirs.author || "Somebody"} has ${what} meanwhile${theirs.reason ? `: ${theirs.reason}` : ""}` : "Somebody has decided something else meanwhile";
  return new api.Failure(failure.code, `${said}. Nothing was written; try again to replace that.`);
}

/** The dialog of the act that was begun, on every page that has buttons for one. */
export function ActDialog() {
  const asked = open.value;
  if (!asked) return null;
  const current = asked.instance && (follow(asked.service).table.rows.get(asked.instance.id)?.peek() ?? asked.instance);
  const close = () => (open.value = null);
  return html`<${Dialog} key=${asked.verb} title=${acts[asked.verb].title(asked)} onClose=${close}><${Form} asked=${{ ...asked, instance: current }} onClose=${close} /><//>`;
}
