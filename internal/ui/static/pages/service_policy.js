// What an operator decided for all callers of a service: shown, edited, taken back.
import { useEffect, useState } from "preact/hooks";
import * as api from "../api.js";
import { html } from "../html.js";
import { author, may, sign, signed } from "../identity.js";
import { Author } from "../parts/acts.js";
import { Dialog, Ending, Field, useAct } from "../parts/dialog.js";
import { Copy } from "../parts/text.js";
import { toast } from "../parts/toast.js";
import { service as follow } from "../store.js";
import { Ago } from "../time.js";

/** The document as one edits it: without what the form and the server fill in. */
function text(policy) {
  const { reason, author, since, ...rest } = policy?.document ?? {};
  return JSON.stringify(rest, null, 2);
}

/** Reads what was typed; the error says where it is wrong. */
export function parse(typed) {
  let document;
  try {
    document = JSON.parse(typed);
  } catch (err) {
    throw new api.Failure(3, `This is not JSON: ${err.message}`);
  }
  if (document === null || typeof document !== "object" || Array.isArray(document)) throw new api.Failure(3, "A policy is an object: { … }");
  return document;
}

const revisionOf = (policy) => policy?.revision ?? "0";

function Editor({ service, onClose }) {
  const store = follow(service);
  const [base, setBase] = useState(store.policy.peek());
  const [form, setForm] = useState({ text: text(base), reason: "", author: author.value });
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const known = signed(service);
  const [busy, failure, run] = useAct(async () => {
    const document = { ...parse(form.text), reason: form.reason.trim() };
    if (!known && form.author.trim()) document.author = form.author.trim();
    try {
      await api.setPolicy(service, document, revisionOf(base));
    } catch (failure) {
      throw failure.code === api.code.aborted ? new api.Failure(failure.code, "Somebody else has decided meanwhile. Nothing was written.") : failure;
    }
    if (!known) sign(form.author.trim());
    toast(`${service} has the policy`);
    onClose();
  });
  const theirs = store.policy.value;
  const moved = revisionOf(theirs) !== revisionOf(base);
  const take = () => {
    setBase(theirs);
    setForm({ ...form, text: text(theirs) });
  };
  const conflict = failure?.code === api.code.aborted;
  const wrong = failure && !conflict && (failure.fields.map((f) => `${f.field}: ${f.description}`).join("\n") || failure.message);
  return html`<form onSubmit=${run}>
    ${moved && html`<div class="notice" role="alert"><p>Somebody has ${theirs ? "changed" : "taken back"} the policy since you began${theirs?.document?.reason ? html`: <bdi>${theirs.document.reason}</bdi>` : ""}.</p>
      <p><button type="button" onClick=${take}>Take theirs</button> <button type="button" onClick=${() => setBase(theirs)}>Replace it with mine</button></p></div>`}
    <${Field} label="Policy" hint="JSON; what is left out, callers decide themselves" error=${wrong}>
      <textarea rows="14" spellcheck=${false} autocomplete="off" value=${form.text} onInput=${set("text")}></textarea>
    <//>
    <${Field} label="Why" hint="everybody can read it"><input required maxlength="1000" value=${form.reason} onInput=${set("reason")} /><//>
    ${!known && html`<${Author} value=${form.author} onInput=${set("author")} />`}
    <${Ending} verb="Decide" busy=${busy} failure=${conflict && !moved && failure.message} disabled=${!form.reason.trim() || moved} onClose=${onClose} />
  </form>`;
}

function Remover({ service, onClose }) {
  const [base] = useState(follow(service).policy.peek());
  const [form, setForm] = useState({ reason: "", author: author.value });
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  const known = signed(service);
  const [busy, failure, run] = useAct(async () => {
    await api.deletePolicy(service, { revision: revisionOf(base), reason: form.reason.trim(), author: known ? "" : form.author.trim() });
    if (!known) sign(form.author.trim());
    toast(`The policy of ${service} is taken back`);
    onClose();
  });
  return html`<form onSubmit=${run}>
    <p>Callers return to what they decide themselves.</p>
    <${Field} label="Why" hint="everybody can read it"><input required maxlength="1000" autofocus value=${form.reason} onInput=${set("reason")} /><//>
    ${!known && html`<${Author} value=${form.author} onInput=${set("author")} />`}
    <${Ending} verb="Take back" danger busy=${busy} failure=${failure?.message} disabled=${!form.reason.trim()} onClose=${onClose} />
  </form>`;
}

export function Policy({ service }) {
  const [open, setOpen] = useState("");
  const close = () => setOpen("");
  const policy = follow(service).policy.value;
  const steers = may("steer", service);
  useEffect(close, [service]);
  const { reason, author: who, since } = policy?.document ?? {};
  return html`<section class="card" aria-labelledby="policy">
    <div class="bar-of"><h2 id="policy">Policy</h2><span>
      ${policy && html`<${Copy} text=${text(policy)} what="the policy" />`}
      ${steers && policy && html`<button type="button" class="quiet" onClick=${() => setOpen("remove")}>Take back</button>`}
      ${steers && html`<button type="button" class="quiet" onClick=${() => setOpen("edit")}>${policy ? "Edit" : "Decide"}</button>`}</span></div>
    ${policy ? html`<p class="why">${reason ? html`<bdi>${reason}</bdi>` : "No reason given"} <small>${who && html`<bdi>${who}</bdi>, `}${since && html`<${Ago} at=${since} />, `}rev ${policy.revision}</small></p>
      <pre tabindex="0" aria-label="The policy's document">${text(policy)}</pre>` : html`<p class="faint">None: callers decide themselves.</p>`}
    ${open === "edit" && html`<${Dialog} title=${`Policy of ${service}`} onClose=${close}><${Editor} service=${service} onClose=${close} /><//>`}
    ${open === "remove" && html`<${Dialog} title=${`Take the policy of ${service} back`} onClose=${close}><${Remover} service=${service} onClose=${close} /><//>`}
  </section>`;
}
