// Server-Sent Events by fetch, which unlike the browser's own EventSource can say who asks.
import { effect, untracked } from "@preact/signals";
import { code, failureOf, request, token } from "./api.js";
import { broke, live, mended, unknown } from "./connection.js";

const silence = 40_000; // the server says something every 15 s
const longest = 5_000; // between two tries
const patience = 60_000; // of a page that nobody looks at: browsers have few connections for all their tabs

/**
 * A stream that begins again, behind the last event that it had, whatever ends it: until close.
 *
 * @typedef {{name: string, data: any}} Event
 */
export class Stream {
  /** @param {() => string} path where to ask, each time; @param {{event: (e: Event) => void, refused?: (f: Error|null) => void}} hear */
  constructor(path, hear) {
    this.path = path;
    this.hear = hear;
    this.last = ""; // the last event's id
    this.tries = 0;
    this.up = false;
    this.closed = false;
    this.onVisible = () => this.#seen();
    this.onOnline = () => this.restart();
    this.onHide = () => this.#pause();
    this.onShow = (event) => event.persisted && this.restart();
    document.addEventListener("visibilitychange", this.onVisible);
    addEventListener("online", this.onOnline);
    addEventListener("pagehide", this.onHide); // browsers keep pages for who comes back to them, and their streams with them
    addEventListener("pageshow", this.onShow);
    this.forget = effect(() => {
      token.value;
      untracked(() => this.restart()); // as somebody else, perhaps
    });
    if (document.hidden) this.#seen();
  }

  close() {
    this.closed = true;
    this.forget();
    document.removeEventListener("visibilitychange", this.onVisible);
    removeEventListener("online", this.onOnline);
    removeEventListener("pagehide", this.onHide);
    removeEventListener("pageshow", this.onShow);
    clearTimeout(this.hiding);
    this.#pause();
  }

  /** Asks again at once. */
  restart() {
    this.#end();
    if (this.closed) return;
    this.abort = new AbortController();
    this.#run(this.abort);
  }

  #end() {
    clearTimeout(this.timer);
    this.timer = 0;
    clearTimeout(this.watchdog);
    this.abort?.abort();
    this.abort = null;
    this.#mark(false);
  }

  /** Ends without a word of being out of reach: nobody looks. */
  #pause() {
    this.#end();
    mended(this);
  }

  #mark(up) {
    if (up !== this.up) live.value = live.peek() + (up ? 1 : -1);
    this.up = up;
  }

  #seen() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => this.#pause(), patience);
    } else if (!this.abort && !this.timer) {
      this.restart();
    }
  }

  async #run(abort) {
    let failure = null;
    try {
      failure = await this.#read(abort);
    } catch (err) {
      failure = err;
    }
    if (this.abort !== abort) return; // somebody else has decided already what comes next
    this.#end();
    this.#fail(failure);
  }

  /** Decides what to do about an end: to come back soon, or, when that is refused, later. */
  #fail(failure) {
    unknown.value = failure?.code === code.unauthenticated;
    if (failure?.refused) {
      mended(this);
      this.hear.refused?.(failure);
      this.timer = setTimeout(() => this.restart(), 6 * longest);
      return;
    }
    broke(this);
    const wait = Math.min(longest, 250 * 2 ** this.tries++);
    this.timer = setTimeout(() => this.restart(), wait * (0.5 + Math.random() / 2));
  }

  /** Reads until the end, and returns the failure that the server gives for it, if it does. */
  async #read(abort) {
    const response = await request(this.path(), { signal: abort.signal, headers: { Accept: "text/event-stream", ...(this.last && { "Last-Event-ID": this.last }) } });
    this.tries = 0;
    mended(this);
    this.#mark(true);
    unknown.value = false;
    this.hear.refused?.(null);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let block = {};
    for (;;) {
      clearTimeout(this.watchdog);
      this.watchdog = setTimeout(() => abort.abort(), silence);
      const { done, value } = await reader.read();
      if (done) return null;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line !== "") {
          const colon = line.indexOf(":");
          if (colon > 0) block[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
          continue;
        }
        const event = block;
        block = {};
        if (event.data === undefined) continue;
        if (event.event === "end") return failureOf(JSON.parse(event.data));
        if (this.abort !== abort) return null;
        this.hear.event({ name: event.event, data: JSON.parse(event.data) });
        if (event.id) this.last = event.id;
      }
    }
  }
}
