// The events that somebody asks for: a list that grows at its top by itself, and at its bottom when he asks for older ones.
import { batch, computed, signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import * as api from "../api.js";
import { Stream } from "../stream.js";

const page = 100;
const most = 2_000; // events that came while one looked; with more the list begins anew
const soon = 2_000; // until what could not be asked, or was still being read, is asked again
const invalid = 3; // gRPC's code for a question that cannot be answered

const sequence = (event) => Number(event.sequence);

class Feed {
  /** @param {{service: string, instance: string, actor: string, kinds: string[], from: string, to: string}} query */
  constructor({ service, instance, actor, kinds, from, to }) {
    this.selects = { service, instance, actor, kinds };
    this.from = from ? Date.parse(from) : -Infinity;
    this.to = to ? Date.parse(to) : Infinity;
    this.list = (token) => api.events({ ...this.selects, since: from, until: to, page_size: page, page_token: token });
    this.told = signal([]); // what came while one looked, the newest first
    this.read = signal([]); // what was read, the newest first
    this.known = signal({ ready: false, busy: false, next: "", begin: null, failure: null });
    this.asking = 0; // how many ask for the newest page
    this.waiting = [];
    this.events = computed(() => [...this.told.value, ...this.read.value]);
  }

  #note(what) {
    this.known.value = { ...this.known.peek(), ...what };
  }

  /** Reads, and then follows. A question that cannot be answered is not asked again. */
  async open() {
    await this.#top();
    if (this.closed || this.known.peek().failure?.code === invalid) return;
    const set = new URLSearchParams(Object.entries(this.selects).flatMap(([k, v]) => [v].flat().filter(Boolean).map((x) => [k, x])));
    this.stream = new Stream(() => "/v1/history/watch" + (set.size ? "?" + set : ""), {
      event: ({ data }) => {
        if (data.begin || data.gap) this.#top(); // the stream begins, perhaps of another server: what lies between is read
        this.#tell(data.events);
      },
      refused: (failure) => failure && this.#note({ failure }),
    });
  }

  close() {
    this.closed = true;
    clearTimeout(this.again);
    this.stream?.close();
  }

  #in(event) {
    const at = event.time ? Date.parse(event.time) : Date.now();
    return at >= this.from && at < this.to;
  }

  #newest() {
    const first = this.events.peek()[0];
    return first ? sequence(first) : 0;
  }

  /** Takes events that came by the stream, the oldest first. While the newest page is asked for they wait: it may have been read before them. */
  #tell(events) {
    if (this.asking > 0) {
      this.waiting.push(...events);
      return;
    }
    const newest = this.#newest();
    const fresh = events.filter((e) => sequence(e) > newest && this.#in(e)).map((e) => ({ ...e, fresh: true }));
    if (fresh.length === 0) return;
    if (this.told.peek().length > most) this.#top(true);
    else this.told.value = [...fresh.reverse(), ...this.told.peek()];
  }

  /** Reads the newest page, and joins it to what is there. Where they do not meet, as after the server's restart, it takes its place. */
  async #top(anew) {
    clearTimeout(this.again);
    this.asking++;
    try {
      const { events, begin, nextPageToken } = await this.list("");
      if (this.closed) return;
      if (begin?.reading) this.again = setTimeout(() => this.#top(), soon);
      const known = this.events.peek();
      const newest = this.#newest();
      const meets = !anew && known.length > 0 && events.some((e) => sequence(e) === newest && e.revision === known[0].revision);
      batch(() => {
        if (meets) {
          this.told.value = [...events.filter((e) => sequence(e) > newest), ...this.told.peek()];
          this.#note({ ready: true, begin, failure: null });
          return;
        }
        this.told.value = [];
        this.read.value = events;
        this.#note({ ready: true, next: nextPageToken, begin, failure: null });
      });
    } catch (failure) {
      if (this.closed) return;
      if (failure.code === api.code.unavailable) this.again = setTimeout(() => this.#top(), soon); // what is known stays
      else this.#note({ failure });
    } finally {
      if (--this.asking === 0) this.#tell(this.waiting.splice(0));
    }
  }

  /** Reads one page of older ones. */
  async older() {
    const { next, busy } = this.known.peek();
    if (!next || busy) return;
    this.#note({ busy: true });
    try {
      const { events, begin, nextPageToken } = await this.list(next);
      if (this.known.peek().next !== next) return this.#note({ busy: false }); // the list has begun anew meanwhile
      batch(() => {
        this.read.value = [...this.read.peek(), ...events];
        this.#note({ busy: false, next: nextPageToken, begin });
      });
    } catch (failure) {
      this.#note({ busy: false, ...(failure.code === api.code.unavailable ? {} : { failure }) });
    }
  }
}

const settle = 200; // somebody who types has not asked yet

/** Returns the feed for a question, as long as the component is there. The former one stays until somebody has stopped typing. */
export function useFeed(query) {
  const [feed, setFeed] = useState(/** @type {Feed|null} */ (null));
  useEffect(() => {
    let opened;
    const begin = () => {
      opened = new Feed(query);
      opened.open();
      setFeed(opened);
    };
    const timer = setTimeout(begin, feed ? settle : 0);
    return () => {
      clearTimeout(timer);
      opened?.close();
    };
  }, [JSON.stringify(query), api.token.value]); // somebody else may be told of other services
  return feed;
}
