// What happened to one instance, as far as the server's history reaches back.
import { useEffect, useState } from "preact/hooks";
import * as api from "../api.js";
import { html } from "../html.js";
import { Events } from "../parts/event.js";
import { At } from "../time.js";

const page = 30;

/** `revision` stands for how the instance is now: with another one there is something new to be told. */
export function History({ service, id, revision }) {
  const [known, setKnown] = useState({ events: [], begin: null, next: "", failure: null, asked: false });
  const ask = async (token) => {
    try {
      const { events, begin, nextPageToken } = await api.events({ service, instance: id, page_size: page, page_token: token });
      setKnown((k) => ({ events: token ? [...k.events, ...events] : events, begin, next: nextPageToken, failure: null, asked: true }));
    } catch (failure) {
      setKnown((k) => ({ ...k, failure, asked: true }));
    }
  };
  useEffect(() => {
    ask("");
    const again = setTimeout(() => ask(""), 1500); // the history may hear of a change a little later than we
    return () => clearTimeout(again);
  }, [service, id, revision]);
  return html`<section class="card" aria-labelledby="history"><h2 id="history">What happened to it</h2>
    ${known.failure && html`<p class="faint">The history cannot be shown: ${known.failure.message}</p>`}
    ${known.asked && known.events.length === 0 && !known.failure && html`<p class="faint">Nothing that the history knows of.</p>`}
    <${Events} events=${known.events} />
    ${known.next && html`<button type="button" class="quiet" onClick=${() => ask(known.next)}>Show older</button>`}
    ${!known.next && known.begin?.time && html`<p class="faint"><small>The history begins <${At} at=${known.begin.time} />${known.begin.reading && ", and is still being read"}.</small></p>`}
  </section>`;
}
