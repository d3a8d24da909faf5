// The pages. One more is a file beside this one and its name in this list; if its address begins with a new word, `places` in ui.go has to know it.
//
// A page is an object:
//   path    the segments of its address; one that begins with ":" stands for any and is handed in by that name
//   nav     its entry at the top, {label, href}, if it has one; in the order of this list
//   title   (params) => what the browser shows
//   View    the component; it gets the params
//
// A page that shows what may be old uses a feed of store.js while it is there, or hands the `stale` of its answers to `told` of connection.js.
import { instance } from "./instance.js";
import { service } from "./service.js";
import { services } from "./services.js";
import { status } from "./status.js";
import { timelines } from "./timeline.js";

/** @type {{path: string[], nav?: {label: string, href: string}, title: (params: any) => string, View: Function}[]} */
export const pages = [services, service, instance, ...timelines, status];

/** Returns the page of an address and what is filled in there, or nothing. */
export function find(segments) {
  const asked = segments.length === 0 ? ["services"] : segments;
  for (const page of pages) {
    if (page.path.length !== asked.length) continue;
    if (!page.path.every((p, n) => (p.startsWith(":") ? asked[n] !== "" : p === asked[n]))) continue;
    const params = Object.fromEntries(page.path.flatMap((p, n) => (p.startsWith(":") ? [[p.slice(1), asked[n]]] : [])));
    return { page, params };
  }
  return null;
}
