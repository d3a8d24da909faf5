// Long tables: of all rows only those that can be seen are there, and two empty ones hold the place of the others.
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { html } from "../html.js";

const spare = 8; // rows beyond either end of the screen

/**
 * Returns which of `count` rows of a height are to be drawn in the table body that `ref` is of: [from, to). Short tables are drawn whole.
 */
export function useRows(ref, count, height, whole = 150) {
  const [range, setRange] = useState([0, Math.min(count, 60)]);
  const measure = () => {
    const top = ref.current ? -ref.current.getBoundingClientRect().top : 0;
    const from = Math.max(0, Math.min(count, Math.floor(top / height)) - spare);
    const to = Math.min(count, Math.ceil((top + innerHeight) / height) + spare);
    setRange((old) => (old[0] === from && old[1] === to ? old : [from, Math.max(from, to)]));
  };
  useLayoutEffect(measure, [count, height]);
  useEffect(() => {
    addEventListener("scroll", measure, { passive: true });
    addEventListener("resize", measure);
    return () => {
      removeEventListener("scroll", measure);
      removeEventListener("resize", measure);
    };
  }, [count, height]);
  return count <= whole ? [0, count] : [Math.min(range[0], count), Math.min(range[1], count)];
}

/** The place of rows that are not drawn, across all columns: one more would be a column. */
export const Gap = ({ rows, height, columns }) => rows > 0 && html`<tr class="gap" aria-hidden="true"><td colspan=${columns} style=${{ height: rows * height + "px" }}></td></tr>`;

const narrow = matchMedia("(max-width: 700px)");

/** Whether the page is as narrow as a phone. */
export function useNarrow() {
  const [is, set] = useState(narrow.matches);
  useEffect(() => {
    const hear = () => set(narrow.matches);
    narrow.addEventListener("change", hear);
    return () => narrow.removeEventListener("change", hear);
  }, []);
  return is;
}
