// Moments: a revision of etcd, or a time. In addresses they are "4711" and "2026-11-23T05:00:00Z".
import { useEffect, useState } from "preact/hooks";
import * as api from "../api.js";
import { html } from "../html.js";
import { Dialog, Field } from "../parts/dialog.js";
import { go, to } from "../router.js";
import { Ago, At } from "../time.js";

const outOfRange = 11; // gRPC's code for a moment that etcd does not remember, or that has not been yet

/** A time as the API has it, of one as somebody or a field of the browser wrote it; "" when it is none. */
export function timeOf(text) {
  const at = text && !/^\d+$/.test(text) ? new Date(text) : null;
  return at && !Number.isNaN(at.getTime()) ? at.toISOString().replace(".000Z", "Z") : "";
}

/** A time as a field of the browser has it: where we are, without saying so. */
export function localOf(time) {
  if (!time) return "";
  const at = new Date(time);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** Reads a moment of an address: {revision} or {time}, or null when it is none. */
export function momentOf(text) {
  if (/^[1-9]\d{0,17}$/.test(text)) return { revision: text };
  const time = timeOf(text);
  return time ? { time } : null;
}

/** Where one sees a service, or the whole registry, as of a moment. */
export const thereAt = (moment, service) => to("timeline", "at", String(moment), ...(service ? [service] : []));

export const comparison = (query) => "/timeline/compare?" + new URLSearchParams(Object.entries(query).filter(([, v]) => v));

/** The two fields of a moment; `take` is called with it as addresses have it, "" for none. */
export function MomentFields({ value, take, time = "When", revision = "Or etcd's revision" }) {
  const at = momentOf(value);
  return html`<${Field} label=${time}><input type="datetime-local" step="1" value=${localOf(at?.time)} onChange=${(e) => take(timeOf(e.target.value))} /><//>
    <${Field} label=${revision}><input type="number" min="1" step="1" value=${at?.revision ?? ""} onInput=${(e) => take(e.target.value)} /><//>`;
}

/** Asks where to go back to. */
export function GoBack({ service, onClose }) {
  const [moment, setMoment] = useState("");
  const there = (event) => {
    event.preventDefault();
    if (momentOf(moment)) go(thereAt(moment, service));
  };
  return html`<${Dialog} title="Go back" onClose=${onClose}>
    <form onSubmit=${there}>
      <p>Shows ${service ? html`<b><bdi>${service}</bdi></b>` : "the registry"} as it was, as far as etcd remembers.</p>
      <${MomentFields} value=${moment} take=${setMoment} />
      <footer>
        <button type="button" onClick=${onClose}>Cancel</button>
        <button type="button" disabled=${!momentOf(moment)} onClick=${() => go(comparison({ from: moment, service }))}>What has changed since</button>
        <button type="submit" class="main" disabled=${!momentOf(moment)}>Show it</button>
      </footer>
    </form>
  <//>`;
}

/** A moment as precisely as it is known. */
export const Moment = ({ at }) => html`${at.time ? html`<${At} at=${at.time} /> (<${Ago} at=${at.time} />)` : "a time that nobody knows"}, revision ${at.revision}`;

/** Asks once for each key, and keeps the last answer: [answer, failure]. A server that is away is asked again. */
export function useAnswer(question, key) {
  const [state, setState] = useState({ key, answer: null, failure: null });
  useEffect(() => {
    let over = false;
    let timer = 0;
    const look = async () => {
      try {
        const answer = await question();
        if (!over) setState({ key, answer, failure: null });
      } catch (failure) {
        if (over) return;
        setState({ key, answer: null, failure });
        if (failure.code === api.code.unavailable) timer = setTimeout(look, 3_000);
      }
    };
    look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key, api.token.value]);
  return state.key === key ? [state.answer, state.failure] : [null, null];
}

/**
 * The oldest moment that etcd has. Nobody tells; but it has all from one revision on, so that a few questions, of which each halves what is
 * left, find it.
 */
async function oldest(service) {
  const at = async (revision) => {
    try {
      return (await api.get(to("v1", "services", service, "at"), { revision })).at;
    } catch (failure) {
      if (failure.code === outOfRange) return null;
      throw failure;
    }
  };
  let forgotten = 0;
  let { revision: known } = await api.get("/v1/services", { page_size: 1 });
  known = Number(known);
  let found = await at(known);
  while (found && known - forgotten > 1) {
    const middle = Math.floor((forgotten + known) / 2);
    const there = await at(middle);
    if (there) [found, known] = [there, middle];
    else forgotten = middle;
  }
  return found;
}

/** Why a moment cannot be shown, and where the past begins. */
export function Forgotten({ failure, service }) {
  const lost = failure.code === outOfRange;
  const [begin] = useAnswer(() => (lost ? oldest(service || "rollcall.server") : Promise.resolve(null)), `${lost} ${service}`);
  return html`<p class="failure" role="alert">${lost ? "That moment cannot be shown: " : "The past cannot be shown: "}${failure.message}
    ${begin && html`${"\n"}The past that etcd remembers begins at ${begin.time ? html`<${At} at=${begin.time} />, ` : ""}revision <a href=${thereAt(begin.revision, service)}>${begin.revision}</a>.`}</p>`;
}
