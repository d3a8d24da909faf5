// How much longer the leases of instances last. Only etcd knows: it is asked through the server, and only about those that somebody sees.
import { batch, effect, signal, untracked } from "@preact/signals";
import * as api from "./api.js";
import { lost, stale } from "./connection.js";

const most = 100; // instances that the server tells of at once
const pace = 5_000; // between two questions about one
const hurry = 1_000; // the same where its heartbeat is due
const rest = 250; // between two questions about any
const patience = 10_000; // for an answer, which means nothing any more when it is that old
const refusal = 60_000; // who may not know asks that much later whether he may

/** What is known of one: `until` when it stays without a heartbeat (null: it has no lease, and stays for good), and when that was said. @typedef {{until: number|null, at: number, revision: string}} Told */

/** Somebody's interest in one instance. */
export class Watch {
  constructor(service, id) {
    this.service = service;
    this.id = id;
    this.ttl = 0; // in ms; 0: it does not say
    this.revision = "";
    this.told = signal(/** @type {Told|null} */ (null));
    this.next = 0; // when it is asked about again
  }

  /** Takes how it is now. Another revision may be under another lease. */
  follow(instance, ttl) {
    this.ttl = ttl;
    if (this.revision === instance.revision) return;
    this.revision = instance.revision;
    this.next = Math.min(this.next, Math.max(Date.now(), (this.told.peek()?.at ?? 0) + hurry));
    plan();
  }

  /** Notes an answer, `left` in ms; undefined: it is not among those that have a lease. */
  tell(left, revision, at) {
    const known = this.told.peek();
    const going = left === undefined && known?.until && known.revision === revision; // nothing takes the lease from what stands there: it has just ended
    if (!going) this.told.value = { until: left === undefined ? null : at + left, at, revision };
    this.next = at + this.#pause(at);
  }

  /** How long an answer is good for. A live one is renewed at two thirds of its TTL, and nobody is to take it for a dead one until then. */
  #pause(at) {
    const { until } = this.told.peek();
    if (!until || !this.ttl || until - at < this.ttl / 3) return pace;
    return Math.min(pace, Math.max(hurry, until - at - (this.ttl * 2) / 3));
  }

  /** How many seconds are left; null for one without a lease, undefined while nobody knows. */
  left(now) {
    const told = this.told.value;
    if (!told || lost.value || stale.value || now - told.at > patience) return undefined;
    return told.until && Math.max(0, Math.ceil((told.until - Math.max(now, told.at)) / 1000));
  }

  /** Whether heartbeats were missed, `left` being what is left: not just answers. */
  missed(left, now) {
    const { until, at } = this.told.value;
    return this.ttl > 0 && left * 1000 < this.ttl / 3 && (now - at < 2.5 * hurry || until - at < this.ttl / 3);
  }
}

/** @type {Map<Element, Watch>} */
const drawn = new Map();
/** Those that are in sight. @type {Set<Watch>} */
const seen = new Set();

const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const watch = drawn.get(target);
    if (watch && isIntersecting) seen.add(watch);
    else if (watch) seen.delete(watch);
  }
  plan();
});

/** Asks about an instance whenever the element that tells of it can be seen. Returns what ends that. */
export function look(element, watch) {
  drawn.set(element, watch);
  sight.observe(element);
  return () => {
    sight.unobserve(element);
    drawn.delete(element);
    seen.delete(watch);
  };
}

let timer = 0;
let asking = false;
let rested = 0; // when one may ask again

/** Asks when it is time, if somebody looks and would be answered. One question is under way at a time. */
function plan() {
  clearTimeout(timer);
  if (asking || document.hidden || lost.peek() || stale.peek() || seen.size === 0) return;
  let next = Infinity;
  for (const watch of seen) next = Math.min(next, watch.next);
  timer = setTimeout(ask, Math.max(next, rested) - Date.now());
}

async function ask() {
  const due = [...seen].filter((w) => w.next <= Date.now() + rest).sort((a, b) => a.next - b.next);
  const asked = due.filter((w) => w.service === due[0].service).slice(0, most).map((watch) => ({ watch, revision: watch.revision }));
  if (asked.length === 0) return plan();
  asking = true;
  try {
    const { leases } = await api.leases(asked[0].watch.service, asked.map(({ watch }) => watch.id), AbortSignal.timeout(patience));
    const left = new Map(leases.map((l) => [l.id, parseFloat(l.left) * 1000]));
    const at = Date.now();
    batch(() => asked.forEach(({ watch, revision }) => watch.tell(left.get(watch.id), revision, at)));
  } catch (failure) {
    const again = Date.now() + (failure.refused ? refusal : pace);
    for (const { watch } of asked) watch.next = again;
  } finally {
    asking = false;
    rested = Date.now() + rest;
    plan();
  }
}

document.addEventListener("visibilitychange", plan);
effect(() => {
  lost.value;
  stale.value;
  untracked(plan);
});
