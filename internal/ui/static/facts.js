// What the services page tells beside the registry itself: when services changed last, and how many callers watch each. Who may not know
// that is shown the page without it.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as api from "./api.js";
import { lastChange } from "./store.js";

/** How many watch each service through this server; null for who may not know. @type {import("@preact/signals").Signal<Map<string, number>|null>} */
export const watching = signal(null);

const pace = 10_000;

async function lookWatching() {
  const counts = new Map();
  const add = (service) => counts.set(service, (counts.get(service) ?? 0) + 1);
  try {
    const [{ watchers }, { clients }] = await Promise.all([api.watchers(""), api.xdsClients("").catch(() => ({ clients: [] }))]);
    for (const w of watchers) if (!w.everything) add(w.service);
    for (const c of clients) for (const s of servicesOf(c)) add(s);
    watching.value = counts;
  } catch (failure) {
    if (failure.refused) watching.value = null;
  }
}

/** The services that an xDS client watches. */
export const servicesOf = (client) => new Set(client.types.filter((t) => t.type === "listener").flatMap((t) => t.names));

let read = false;

/** Reads when services changed, from the newest events of the history; from then on the page sees it itself. */
async function lookBack() {
  if (read) return;
  read = true;
  try {
    const { events } = await api.events({ page_size: 1000 });
    for (const e of events) {
      const change = e.service && e.time && lastChange(e.service);
      if (change && change.peek() === 0) change.value = Date.parse(e.time);
    }
  } catch {
    read = false;
  }
}

/** Keeps both up to date while a component is there. */
export function useWatching() {
  useEffect(() => {
    lookBack();
    lookWatching();
    const timer = setInterval(() => document.hidden || lookWatching(), pace);
    return () => clearInterval(timer);
  }, []);
}
