// Plots of lengths of time over the time of day.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";

const height = 180;
const edge = { left: 58, right: 10, top: 10, bottom: 22 };
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** A length of time, given in seconds, with three figures and its unit. */
export function brief(seconds) {
  const [value, unit] = seconds >= 1 ? [seconds, "s"] : seconds >= 1e-3 ? [seconds * 1e3, "ms"] : [seconds * 1e6, "µs"];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

/** The smallest of 1, 2, 5, 10, 20, 50… that is not below a number. */
function round(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 5, 10].find((n) => n * power >= x * 0.999999) * power;
}

/** How wide an element is, in pixels. */
function useWidth(ref) {
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const seen = new ResizeObserver(([entry]) => setWidth(Math.max(240, Math.floor(entry.contentRect.width))));
    seen.observe(ref.current);
    return () => seen.disconnect();
  }, []);
  return width;
}

const line = (points) => points.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

const Sample = ({ mark }) => html`<svg class=${"sample " + mark} viewBox="0 0 24 10" aria-hidden="true">${mark === "dots" ? html`<circle cx="5" cy="5" r="2.5" /><circle cx="12" cy="5" r="2.5" /><circle cx="19" cy="5" r="2.5" />` : html`<path d="M1 5h22" />`}</svg>`;

/**
 * Series of [time in ms, seconds], each told from the others by how its line is drawn.
 *
 * @param {{label: string, series: {name: string, mark: "line"|"dashes"|"dots", points: [number, number][]}[]}} props
 */
export function Plot({ label, series }) {
  const ref = useRef(null);
  const width = useWidth(ref);
  const all = series.flatMap((s) => s.points);
  const step = round((Math.max(...all.map(([, y]) => y), 1e-6) * 1.05) / 4);
  const top = step * Math.ceil((Math.max(...all.map(([, y]) => y), 1e-6) * 1.02) / step);
  const first = Math.min(...all.map(([t]) => t));
  const last = Math.max(...all.map(([t]) => t), first + 20_000);
  const x = (t) => edge.left + ((t - first) / (last - first)) * (width - edge.left - edge.right);
  const y = (v) => height - edge.bottom - (v / top) * (height - edge.top - edge.bottom);
  const rows = Array.from({ length: Math.round(top / step) + 1 }, (_, n) => n * step);
  const columns = width > 500 ? [0, 0.5, 1] : [0, 1];
  return html`<figure class="plot" ref=${ref}>
    <svg viewBox=${`0 0 ${width} ${height}`} height=${height} role="img" aria-label=${label}>
      ${rows.map((v) => html`<g key=${v}><path class="grid" d=${`M${edge.left} ${y(v)}H${width - edge.right}`} /><text x=${edge.left - 7} y=${y(v) + 4} text-anchor="end">${v === 0 ? "0" : brief(v)}</text></g>`)}
      ${columns.map((c) => html`<text key=${c} x=${x(first + c * (last - first))} y=${height - 5} text-anchor=${c === 0 ? "start" : c === 1 ? "end" : "middle"}>${clock.format(first + c * (last - first))}</text>`)}
      ${series.map((s) => html`<g key=${s.name} class=${"series " + s.mark}>
        ${s.mark !== "dots" && html`<path d=${line(s.points.map(([t, v]) => [x(t), y(v)]))} />`}
        ${s.mark === "dots" && s.points.map(([t, v]) => html`<circle key=${t} cx=${x(t)} cy=${y(v)} r="2.5"><title>${`${s.name}: ${brief(v)} at ${clock.format(t)}`}</title></circle>`)}
      </g>`)}
    </svg>
    <figcaption>${series.map((s) => html`<span key=${s.name}><${Sample} mark=${s.mark} />${s.name} <b>${s.points.length ? brief(s.points.at(-1)[1]) : "–"}</b></span>`)}</figcaption>
  </figure>`;
}
