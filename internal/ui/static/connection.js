// Whether what is shown is current: since when the server is out of reach of the page, and since when etcd is out of reach of the server.
import { computed, signal } from "@preact/signals";
import { now } from "./time.js";

/** Streams that are broken, and since when. @type {Map<object, Date>} */
const broken = new Map();
const lostSince = signal(/** @type {Date|null} */ (null));

/** How many streams are up: whether anything is live at all. */
export const live = signal(0);

/** What the last answer says about etcd: {since, reason}, or null while it is in reach. */
export const stale = signal(/** @type {{since: string, reason: string}|null} */ (null));

/** A caller who is nobody to the server has to say who he is. */
export const unknown = signal(false);

/** Since when the server is out of reach; null while it is not, or has been for less than a moment: streams do end, and begin again. */
export const lost = computed(() => (lostSince.value && now.value - lostSince.value >= 1000 ? lostSince.value : null));

/** Notes that a stream broke; the first word counts. */
export function broke(stream) {
  if (!broken.has(stream)) broken.set(stream, new Date());
  note();
}

/** Notes that a stream is well, or that nobody needs it any more. */
export function mended(stream) {
  broken.delete(stream);
  note();
}

function note() {
  lostSince.value = broken.size ? new Date(Math.min(...broken.values())) : null;
}

/** Notes what an answer says about etcd. */
export function told(staleness) {
  const next = staleness ?? null;
  if (JSON.stringify(next) !== JSON.stringify(stale.peek())) stale.value = next;
}
