// What is shown of all that happened: a stretch without a gap, the newest first, that is never longer than so many events.
import { computed, signal } from "@preact/signals";

const most = 500; // events that are shown
const part = 100; // that are let go at the top, and read again, together

export const sequence = (event) => Number(event.sequence);

export class Stretch {
  constructor() {
    this.events = signal([]);
    this.reading = Infinity; // the sequence of the first event in sight, if that is not the newest one
    this.newest = null; // the newest one that was heard of, be it shown or not
    this.parted = signal([]); // what was let go at the top, {before, size}: the nearest is the last
    this.missed = signal(0); // what came while the top was not shown
    this.attached = true; // what comes next belongs above the first that is shown
    this.count = computed(() => this.events.value.length + this.parted.value.reduce((n, p) => n + p.size, 0));
  }

  /** Where one asks on behind the last that is shown: a page's token is the sequence of the last event before it. */
  get end() {
    return String(this.events.peek().at(-1)?.sequence ?? "");
  }

  /** The sequence up to which all was heard. */
  get heard() {
    return this.newest ? sequence(this.newest) : 0;
  }

  /** What was let go above the first that is shown, the nearest part of it. */
  get above() {
    return this.parted.peek().at(-1);
  }

  /** How many lie above the first that is shown. */
  get behind() {
    return this.missed.peek();
  }

  replace(events) {
    this.events.value = events;
    this.newest = events[0] ?? null;
    this.parted.value = [];
    this.missed.value = 0;
    this.attached = true;
    this.reading = Infinity;
  }

  /** Takes new events, and says whether old ones were cut off for them. */
  grow(events) {
    if (events.length === 0) return false;
    this.newest = events[0];
    if (!this.attached) {
      this.missed.value += events.length;
      return false;
    }
    return this.#set([...events, ...this.events.peek()]);
  }

  /** Whether the newest events go on where those that were heard of end. */
  meets(events) {
    const last = this.above ? this.newest : this.events.peek()[0];
    return last && events.some((e) => e.sequence === last.sequence && e.revision === last.revision);
  }

  /** Takes those of the newest events that are not known, and says whether old ones were cut off for them. */
  join(events) {
    if (this.above) return this.grow(events.filter((e) => sequence(e) > this.heard));
    this.attached = true;
    this.missed.value = 0;
    const first = sequence(this.events.peek()[0]);
    return this.grow(events.filter((e) => sequence(e) > first));
  }

  /** Takes older events at the end. */
  extend(events) {
    return this.#set([...this.events.peek(), ...events]);
  }

  /** Takes what was let go above, read again. */
  restore(events) {
    this.parted.value = this.parted.peek().slice(0, -1);
    return this.#set([...events, ...this.events.peek()]);
  }

  /** Lets go what is too much, where nobody reads it: at the top, for those who read further down, or at the end, which is said. */
  #set(events) {
    const excess = events.length - most;
    if (excess <= 0) {
      this.events.value = events;
      return false;
    }
    const at = events.findIndex((e) => sequence(e) <= this.reading);
    if (at <= most / 2) {
      this.events.value = events.slice(0, most);
      return true;
    }
    const parts = [];
    for (let from = 0; from < excess; from += part) parts.push({ before: sequence(events[from]) + 1, size: Math.min(part, excess - from) });
    this.parted.value = [...this.parted.peek(), ...parts];
    this.events.value = events.slice(excess);
    this.attached = false;
    return false;
  }
}
