// The address decides what is shown, and what is shown is in the address.
import { signal } from "@preact/signals";

/** @typedef {{segments: string[], query: URLSearchParams}} Place */

/** Where we are. @type {import("@preact/signals").Signal<Place>} */
export const place = signal(read());

/** Counts the times that somebody went elsewhere, for those who care about that and not about a search that is being typed. */
export const journeys = signal(0);

function read() {
  const segments = location.pathname.split("/").slice(1).map(decode);
  return { segments: segments.length === 1 && segments[0] === "" ? [] : segments, query: new URLSearchParams(location.search) };
}

function decode(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // somebody typed it
  }
}

/** The path of some segments, each encoded: to("services", "shop", "a/b"). */
export const to = (...segments) => "/" + segments.map(encodeURIComponent).join("/");

/** Goes to an address of the page. */
export function go(href) {
  flush();
  history.pushState(null, "", href);
  place.value = read();
  journeys.value++;
  scrollTo(0, 0);
}

let pending = 0; // a timer

/** Changes what the address asks for, such as {q: "shop"}; "" takes it out. Browsers bear only so many changes of it, so it follows a little later. */
export function ask(changes) {
  const query = new URLSearchParams(place.value.query);
  for (const [key, value] of Object.entries(changes)) {
    if (value) query.set(key, value);
    else query.delete(key);
  }
  place.value = { ...place.value, query };
  clearTimeout(pending);
  pending = setTimeout(flush, 250);
}

function flush() {
  if (!pending) return;
  clearTimeout(pending);
  pending = 0;
  const query = place.value.query.toString();
  history.replaceState(history.state, "", location.pathname + (query && "?" + query));
}

addEventListener("popstate", () => {
  clearTimeout(pending);
  pending = 0;
  place.value = read();
  journeys.value++;
});

// Links are links: to be opened elsewhere, copied, or followed here without loading the page anew.
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented || link.target || link.origin !== location.origin || link.dataset.out !== undefined) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
