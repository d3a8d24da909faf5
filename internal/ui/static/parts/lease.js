// The lease of an instance: how long it stays if no heartbeat comes, counted down.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { look, Watch } from "../leases.js";
import { now, seconds, span } from "../time.js";

/** A heart that has stopped: a flat line after the last beat. */
const Missed = () => html`<svg class="shape" viewBox="0 0 12 12" aria-hidden="true"><path d="M.8 7h1.7l1.5-5 2 8 1-3h4.2" class="open" /></svg>`;

const meaning = {
  unknown: "How long it outlives its last heartbeat",
  none: "It has no lease: it stays until somebody removes it",
  ended: "Its lease has ended; it is kept for a while, as it may be alive",
};

/** `instance` has to be of the same id always. */
export function Lease({ service, instance }) {
  const ref = useRef(null);
  const [watch] = useState(() => new Watch(service, instance.id));
  const ttl = seconds(instance.ttl);
  useEffect(() => look(ref.current, watch), []);
  useEffect(() => watch.follow(instance, ttl * 1000), [instance.revision, ttl]);
  const left = watch.left(now.value);
  const of = ttl > 0 && html`<span class="faint"> of ${span(ttl)}</span>`;
  const show = (title, content, extra = "") => html`<span ref=${ref} class=${"lease " + extra} title=${title}>${content}</span>`;
  if (instance.suspect) return show(meaning.ended, "ended");
  if (left === undefined) return show(meaning.unknown, of || html`<span class="faint">–</span>`);
  if (left === null) return show(meaning.none, "no lease");
  if (!watch.missed(left, now.value)) return show(`It stays for ${span(left)} if no heartbeat comes`, html`${span(left)}${of}`);
  const silent = `no heartbeat for ${span(ttl - left)}`;
  return show(silent, html`<${Missed} /><b>${span(left)}</b>${of}<span class="unseen">, ${silent}</span>`, "missed");
}
