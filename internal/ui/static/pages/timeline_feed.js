// The events that somebody asks for: they grow at their top by themselves, and at their bottom when he asks for older ones.
import { batch, signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import * as api from "../api.js";
import { Stream } from "../stream.js";
import { sequence, Stretch } from "./timeline_stretch.js";

const page = 100;
const largest = 1_000; // that the server gives
const together = 50; // what comes within that time
const soon = 2_000; // until what could not be asked, or was still being read, is asked again
const invalid = 3; // gRPC's code for a question that cannot be answered

class Feed {
  /** @param {{service: string, instance: string, actor: string, kinds: string[], from: string, to: string}} query */
  constructor({ service, instance, actor, kinds, from, to }) {
    this.selects = { service, instance, actor, kinds };
    this.from = from ? Date.parse(from) : -Infinity;
    this.to = to ? Date.parse(to) : Infinity;
    this.list = (token, size) => api.events({ ...this.selects, since: from, until: to, page_size: Math.min(size, largest), page_token: token });
    this.shown = new Stretch();
    this.known = signal({ ready: false, busy: false, next: "", begin: null, failure: null });
    this.asking = 0; // how many ask for the newest page
    this.waiting = [];
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
    clearTimeout(this.drawing);
    this.stream?.close();
  }

  #in(event) {
    const at = event.time ? Date.parse(event.time) : Date.now();
    return at >= this.from && at < this.to;
  }

  /** Takes events that came by the stream, the oldest first. What comes together is drawn together. */
  #tell(events) {
    this.waiting.push(...events);
    this.drawing ??= setTimeout(() => {
      this.drawing = undefined;
      this.#grow();
    }, together);
  }

  /** Shows what waits, but not while the newest page is asked for: it may have been read before that. */
  #grow() {
    if (this.asking > 0) return;
    const fresh = this.waiting.splice(0).filter((e) => sequence(e) > this.shown.heard && this.#in(e));
    this.#took(this.shown.grow(fresh.map((e) => ({ ...e, fresh: true })).reverse()));
  }

  /** Notes that the end of what is shown was cut off: it is asked for again from there on. */
  #took(cut) {
    if (cut) this.#note({ next: this.shown.end });
  }

  /** Reads the newest page, and joins it to what is there. Where they do not meet, as after the server's restart, it takes its place. */
  async #top(anew) {
    clearTimeout(this.again);
    this.asking++;
    try {
      const { events, begin, nextPageToken } = await this.list("", anew ? page : this.shown.behind + page);
      if (this.closed) return;
      if (begin?.reading) this.again = setTimeout(() => this.#top(), soon);
      batch(() => {
        if (!anew && this.shown.meets(events)) {
          this.#note({ ready: true, begin, failure: null });
          this.#took(this.shown.join(events));
          return;
        }
        this.shown.replace(events);
        this.#note({ ready: true, next: nextPageToken, begin, failure: null });
      });
    } catch (failure) {
      if (this.closed) return;
      if (failure.code === api.code.unavailable) this.again = setTimeout(() => this.#top(), soon); // what is known stays
      else this.#note({ failure });
    } finally {
      if (--this.asking === 0) this.#grow();
    }
  }

  /** Shows the newest, wherever one was. */
  newest() {
    return this.#top(true);
  }

  /** Reads one page of older ones. */
  async older() {
    const { next, busy } = this.known.peek();
    if (!next || busy) return;
    await this.#more(next, page, () => this.known.peek().next === next, ({ events, nextPageToken }) => {
      this.#note({ next: nextPageToken });
      this.#took(this.shown.extend(events));
    });
  }

  /** Reads again what was let go above. */
  async newer() {
    const part = this.shown.above;
    if (!part || this.known.peek().busy) return;
    await this.#more(part.before, part.size, () => this.shown.above === part, ({ events }) => this.#took(this.shown.restore(events)));
    if (!this.shown.above) await this.#top();
  }

  /** Reads a page, and takes it if the list has not begun anew meanwhile. */
  async #more(token, size, good, take) {
    this.#note({ busy: true });
    try {
      const answer = await this.list(token, size);
      batch(() => {
        this.#note({ busy: false, begin: answer.begin });
        if (good()) take(answer);
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
