// How one finds a service: by typing, by choosing, and by the keyboard alone.
import { useEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { ask, place } from "../router.js";

/** Where one types; "/" comes here from anywhere on the page. */
export function Search() {
  const ref = useRef(null);
  useEffect(() => {
    const hear = (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || busy(event.target)) return;
      event.preventDefault();
      ref.current.select();
      ref.current.focus();
    };
    document.addEventListener("keydown", hear);
    return () => document.removeEventListener("keydown", hear);
  }, []);
  const clear = (event) => {
    if (event.key === "Escape" && event.target.value) {
      event.preventDefault();
      ask({ q: "" });
    }
  };
  return html`<label class="search"><span class="unseen">Search services by name</span>
    <input ref=${ref} type="search" placeholder="Search by name" autocomplete="off" spellcheck=${false} value=${place.value.query.get("q") ?? ""}
      onInput=${(e) => ask({ q: e.target.value })} onKeyDown=${clear} aria-keyshortcuts="/" /><kbd aria-hidden="true">/</kbd></label>`;
}

const busy = (element) => element.closest?.("input, textarea, select, dialog");

/** A choice of one, in the address under its name. */
export function Filter({ name, label, all, options }) {
  const chosen = place.value.query.get(name) ?? "";
  const known = chosen && !options.includes(chosen) ? [chosen, ...options] : options;
  if (known.length === 0) return null;
  return html`<label class="filter"><span class="unseen">${label}</span>
    <select value=${chosen} class=${chosen && "set"} onChange=${(e) => ask({ [name]: e.target.value })}>
      <option value="">${all}</option>
      ${known.map((o) => html`<option key=${o} value=${o}>${o === "trouble" ? "not all serving" : o}</option>`)}
    </select></label>`;
}

/** Arrows, Home and End go from row to row; Enter follows the link that is there. The first arrow comes from where one types. */
export function useKeys(count, height, body) {
  useEffect(() => {
    const hear = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const typing = busy(event.target);
      if (typing && !(event.target.type === "search" && event.key === "ArrowDown")) return;
      const at = Number(document.activeElement?.dataset?.row ?? -1);
      const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: count - 1 }[event.key];
      if (next === undefined || next >= count || count === 0 || (at < 0 && event.key !== "ArrowDown")) return;
      event.preventDefault();
      if (next < 0) document.querySelector("input[type=search]").focus();
      else focus(body.current, next, height);
    };
    document.addEventListener("keydown", hear);
    return () => document.removeEventListener("keydown", hear);
  }, [count, height]);
}

/** Brings a row into sight, where it may not even be drawn, and focuses its link. */
function focus(body, index, height) {
  const link = () => body.querySelector(`a[data-row="${index}"]`);
  if (!link()) scrollBy(0, body.getBoundingClientRect().top + index * height - innerHeight / 2);
  requestAnimationFrame(() => setTimeout(() => {
    link()?.focus();
    link()?.scrollIntoView({ block: "nearest" });
  }));
}
