// Dialogs: the browser's own, which keeps the focus and closes by Escape.
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";

export function Dialog({ title, onClose, children }) {
  const ref = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    ref.current.showModal();
    return () => before?.focus?.();
  }, []);
  const outside = (event) => event.target === ref.current && onClose();
  return html`<dialog ref=${ref} aria-labelledby=${id} onClose=${onClose} onMouseDown=${outside}>
    <div class="inside">
      <header><h2 id=${id}>${title}</h2><button type="button" class="quiet" aria-label="Close" onClick=${onClose}>✕</button></header>
      ${children}
    </div>
  </dialog>`;
}

/** A field with its name, and what is wrong with it. */
export function Field({ label, hint, error, children }) {
  return html`<label class=${"field" + (error ? " wrong" : "")}>
    <span>${label}${hint && html` <small>${hint}</small>`}</span>
    ${children}
    ${error && html`<em role="alert">${error}</em>`}
  </label>`;
}

/** The two buttons that end a form, and the error of the last try. */
export function Ending({ verb, busy, failure, disabled, danger, onClose }) {
  return html`${failure && html`<p class="failure" role="alert">${failure}</p>`}
    <footer>
      <button type="button" onClick=${onClose}>Cancel</button>
      <button type="submit" class=${danger ? "danger" : "main"} disabled=${busy || disabled}>${busy ? "…" : verb}</button>
    </footer>`;
}

/** Runs what a form is for, once at a time. It returns [busy, failure, run]; run returns whether it went well. */
export function useAct(act) {
  const [state, setState] = useState({ busy: false, failure: null });
  const run = async (event) => {
    event?.preventDefault();
    if (state.busy) return false;
    setState({ busy: true, failure: null });
    try {
      await act();
      setState({ busy: false, failure: null });
      return true;
    } catch (failure) {
      setState({ busy: false, failure });
      return false;
    }
  };
  return [state.busy, state.failure, run];
}
