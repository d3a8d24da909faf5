// Columns that sort their table. The address says by which: "name", or "-name" for the other way round.
import { html } from "../html.js";
import { ask, place } from "../router.js";

/** A column's head. `first` is the direction that the first click gives: "" or "-". */
export function Sortable({ name, initial, first = "", class: extra, children }) {
  const by = place.value.query.get("sort") || initial;
  const way = by === name ? "ascending" : by === "-" + name ? "descending" : undefined;
  const turned = way === undefined ? first + name : way === "ascending" ? "-" + name : name;
  return html`<th scope="col" class=${extra} aria-sort=${way}>
    <button type="button" class="head" onClick=${() => ask({ sort: turned === initial ? "" : turned })}>${children}${way && html`<span class="arrow" aria-hidden="true">${way === "ascending" ? "▲" : "▼"}</span>`}</button>
  </th>`;
}

/** Compares by what `keys` has under the name in `by`, and what is equal then by the key of `last`. */
export function comparer(by, keys, last) {
  const down = by.startsWith("-");
  const key = keys[down ? by.slice(1) : by] ?? keys[last];
  const tie = keys[last];
  const compare = (x, y) => (x < y ? -1 : x > y ? 1 : 0);
  return (a, b) => (down ? compare(key(b), key(a)) : compare(key(a), key(b))) || compare(tie(a), tie(b));
}
