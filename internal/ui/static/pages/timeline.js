// What happened: the newest first, as it happens, and what came before by scrolling. From here one goes back to how the registry was.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { plural } from "../parts/text.js";
import { ask } from "../router.js";
import { services } from "../store.js";
import { At } from "../time.js";
import { compare } from "./timeline_compare.js";
import { useFeed } from "./timeline_feed.js";
import { asked, Filters, filtered, none } from "./timeline_filter.js";
import { GoBack } from "./timeline_moment.js";
import { registryThen, serviceThen } from "./timeline_past.js";
import { Days } from "./timeline_row.js";

function View() {
  useEffect(() => services.use(), []); // it says how old all this is, and what services there are
  const query = asked.value;
  const feed = useFeed(query);
  const known = feed?.known.value;
  const count = feed?.shown.count.value ?? 0;
  const [going, setGoing] = useState(false);
  return html`
    <div class="heading">
      <h1 tabindex="-1">Timeline</h1>
      ${known?.ready && html`<p class="sum">${plural(count, "event")}${known.next && " so far"}</p>`}
      <span class="acts"><button type="button" onClick=${() => setGoing(true)}>Go back…</button><a class="button" href="/timeline/compare">Compare…</a></span>
    </div>
    <${Filters} query=${query} />
    ${known?.failure && html`<p class="failure" role="alert">What happened cannot be shown: ${known.failure.message}</p>`}
    ${!known?.ready && !known?.failure && html`<p class="empty faint">Asking the server…</p>`}
    ${feed && html`<${Days} stretch=${feed.shown}><${Newer} feed=${feed} /><//>`}
    ${known?.ready && html`<${End} feed=${feed} known=${known} count=${count} from=${query.from} />`}
    ${going && html`<${GoBack} service=${query.service} onClose=${() => setGoing(false)} />`}`;
}

/** What stands below the oldest event: that there are more, or why there are none. */
function End({ feed, known, count, from }) {
  if (known.next) return html`<${Older} feed=${feed} known=${known} />`;
  const empty = count === 0 && html`<p class="empty">${filtered() ? html`Nothing that happened is like that. <button type="button" onClick=${() => ask(none)}>Show all</button>` : "Nothing has happened yet that the history knows of. What does, appears here at once."}</p>`;
  const begin = known.begin;
  const cut = from && begin?.time && Date.parse(from) > Date.parse(begin.time);
  return html`${empty}<p class="ends">
    ${cut ? html`That is all since <${At} at=${from} />; the history goes further back.` : Number(begin?.revision ?? 0) <= 1 ? "The history begins here, as etcd does. Nothing is missing." : html`The history begins here${begin?.time && html`, <${At} at=${begin.time} />`}, behind etcd's revision ${begin?.revision ?? "0"}: since then nothing is missing, and of what was before it nobody knows any more.`}
    ${begin?.reading && html` <b>The server is still reading the past</b>: there will be more.`}
  </p>`;
}

/** A button that presses itself when it comes into sight, anew with each `key`. */
function useSelf(press, keys) {
  const ref = useRef(null);
  useEffect(() => {
    if (!ref.current) return;
    const seen = new IntersectionObserver(([entry]) => entry.isIntersecting && press(), { rootMargin: "400px" });
    seen.observe(ref.current);
    return () => seen.disconnect();
  }, keys);
  return ref;
}

function Older({ feed, known }) {
  const ref = useSelf(() => feed.older(), [feed, known.next]);
  return html`<p class="ends"><button type="button" ref=${ref} disabled=${known.busy} onClick=${() => feed.older()}>${known.busy ? "Asking for older ones…" : "Show older"}</button></p>`;
}

/** What stands above the newest event that is shown, when it is not the newest: the list is never longer than so many. */
function Newer({ feed }) {
  const { busy } = feed.known.value;
  const { above, missed } = feed.shown;
  const parts = feed.shown.parted.value.length;
  const ref = useSelf(() => feed.newer(), [feed, parts]);
  if (!above) return null;
  const newest = () => feed.newest().then(() => scrollTo(0, 0));
  return html`<p class="newest"><button type="button" onClick=${newest}>To the newest${missed.value > 0 && html` <small>${plural(missed.value, "event")} since</small>`}</button></p>
    <p class="ends"><button type="button" ref=${ref} disabled=${busy} onClick=${() => feed.newer()}>${busy ? "Asking for newer ones…" : "Show newer"}</button></p>`;
}

const timeline = { path: ["timeline"], nav: { label: "Timeline", href: "/timeline" }, title: () => "Timeline", View };

export const timelines = [timeline, compare, registryThen, serviceThen];
