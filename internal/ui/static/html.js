// How all files here write elements: html`<p>${text}</p>`. What is filled in is always text, never markup.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
