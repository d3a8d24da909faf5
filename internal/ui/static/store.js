// What the page knows of the registry. Everything by its name has a signal of its own, so that one change draws one row.
import { batch, signal } from "@preact/signals";
import { told } from "./connection.js";
import { to } from "./router.js";
import { Stream } from "./stream.js";

const linger = 10_000; // who goes back to where he came from finds it there

/** Things by name, each with its signal. `version` changes, a little later than they, with any of them: lists are made anew then. */
class Table {
  constructor() {
    this.rows = new Map();
    this.version = signal(0);
    this.gone = new Map(); // signals of rows that are drawn until the version changes: who is back by then is drawn by the same one
  }

  /** Takes what has come in the place of all, or of those of the same names. */
  put(all, things) {
    const seen = new Set();
    for (const [name, thing] of things) {
      seen.add(name);
      const row = this.rows.get(name) ?? this.gone.get(name);
      if (thing === null) this.#drop(name);
      else if (row) this.#keep(name, row, thing);
      else this.rows.set(name, signal(thing));
    }
    if (all) for (const name of this.rows.keys()) if (!seen.has(name)) this.#drop(name);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.gone.clear();
      this.version.value++;
    }, 30);
  }

  #keep(name, row, thing) {
    this.rows.set(name, row);
    row.value = thing;
  }

  #drop(name) {
    if (this.rows.has(name)) this.gone.set(name, this.rows.get(name));
    this.rows.delete(name);
  }

  /** The things as they are, for lists: who calls it reads `version` first. */
  *values() {
    for (const row of this.rows.values()) yield row.peek();
  }
}

/** A stream that is there as long as somebody uses it, and what came by it. */
class Feed {
  constructor(path, hear) {
    this.path = path;
    this.hear = hear;
    this.users = 0;
    this.ready = signal(false);
    this.refused = signal(/** @type {Error|null} */ (null));
  }

  /** Returns what ends the use. */
  use() {
    clearTimeout(this.ending);
    this.users++;
    this.stream ??= new Stream(() => this.path, {
      refused: (failure) => (this.refused.value = failure),
      event: (e) =>
        batch(() => {
          told(e.data.stale);
          this.hear(e);
          this.ready.value = true;
        }),
    });
    return () => {
      if (--this.users > 0) return;
      this.ending = setTimeout(() => {
        this.stream.close();
        this.stream = undefined;
        this.unused?.();
      }, linger);
    };
  }
}

/** When a service last changed, as far as the page has seen or read it. @type {Map<string, import("@preact/signals").Signal<number>>} */
const changes = new Map();

export function lastChange(service) {
  if (!changes.has(service)) changes.set(service, signal(0));
  return changes.get(service);
}

/** All services. */
class Services extends Feed {
  constructor() {
    super("/v1/watch", ({ name, data }) => {
      const gone = (s) => !s.instances && !s.policy;
      this.table.put(
        data.snapshot,
        data.services.map((s) => [s.service, gone(s) ? null : s]),
      );
      if (name !== "snapshot") for (const s of data.services) lastChange(s.service).value = Date.now();
    });
    this.table = new Table();
  }
}

export const services = new Services();

/** One service, with its instances. */
class Service extends Feed {
  constructor(service) {
    super(to("v1", "services", service, "watch"), ({ data }) => {
      this.table.put(
        data.snapshot,
        data.updates.map((u) => [u.instance.id, u.op === "OP_DELETE" ? this.#lose(u) : u.instance]),
      );
      for (const u of data.updates) if (u.op !== "OP_DELETE") this.departed.delete(u.instance.id);
      if (JSON.stringify(data.policy) !== JSON.stringify(this.policy.peek())) this.policy.value = data.policy;
      this.revision.value = data.revision;
    });
    this.table = new Table();
    this.policy = signal(undefined);
    this.revision = signal("0");
    this.departed = new Map(); // those that left while we looked: id → {instance, expired, at}
  }

  #lose(update) {
    this.departed.set(update.instance.id, { instance: update.instance, expired: update.expired, at: Date.now() });
    if (this.departed.size > 1000) this.departed.delete(this.departed.keys().next().value);
    return null;
  }

  unused() {
    if (open.get(this.name) === this) open.delete(this.name);
  }
}

const open = new Map();

/** Returns the one of that name, the same for all who use it. @returns {Service} */
export function service(name) {
  let s = open.get(name);
  if (!s) {
    s = new Service(name);
    s.name = name;
    open.set(name, s);
  }
  return s;
}
