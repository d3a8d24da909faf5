// How calls are spread over versions: as the policy says, and else by weight.
import { html } from "../html.js";
import { stateOf } from "../parts/state.js";
import { number } from "../parts/text.js";

/** The share of each version in percent, the largest first, and whether a policy says so. */
export function shares(instances, split) {
  const serving = instances.filter((i) => stateOf(i) === "serving");
  const weights = new Map();
  for (const i of serving) weights.set(i.version, (weights.get(i.version) ?? 0) + i.effectiveWeight);
  const named = Object.entries(split ?? {}).filter(([v]) => weights.has(v));
  const taken = named.reduce((sum, [, percent]) => sum + percent, 0);
  const others = [...weights].filter(([v]) => !(v in (split ?? {})));
  const sum = others.reduce((all, [, w]) => all + w, 0);
  const rest = others.length ? Math.max(0, 100 - taken) : 0;
  const scale = others.length || !taken ? 1 : 100 / taken; // nobody is left to take what is not given away
  const all = [...named.map(([v, percent]) => [v, percent * scale, true]), ...others.map(([v, w]) => [v, (rest * w) / sum, false])];
  return all.map(([version, percent, decided]) => ({ version, percent, decided, count: serving.filter((i) => i.version === version).length })).sort((a, b) => b.percent - a.percent);
}

export function Traffic({ instances, policy }) {
  const split = policy?.document?.split;
  const all = shares(instances, split);
  const missing = Object.entries(split ?? {}).filter(([v]) => !all.some((s) => s.version === v));
  if (all.length < 2 && !split) return null;
  return html`<section class="card" aria-labelledby="traffic">
    <h2 id="traffic">Traffic <small>${split ? "as the policy splits it" : "by weight"}</small></h2>
    <dl class="shares">${all.map((s) => html`<div key=${s.version}>
      <dt><bdi>${s.version || "no version"}</bdi> <small>${s.count} serving${s.decided ? ", decided" : ""}</small></dt>
      <dd><span class="share" aria-hidden="true"><span style=${{ width: s.percent + "%" }}></span></span><span class="number">${number(Math.round(s.percent * 10) / 10)} %</span></dd>
    </div>`)}</dl>
    ${missing.map(([v, percent]) => html`<p key=${v} class="notice">The policy gives ${percent} % to <bdi>${v}</bdi>, of which nobody serves.</p>`)}
  </section>`;
}
