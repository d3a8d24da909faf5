// The page's frame: what is at the top, what is said when something is out of reach, and the page that the address names.
import { render } from "preact";
import { useEffect, useErrorBoundary } from "preact/hooks";
import { live, lost, stale, unknown } from "./connection.js";
import { html } from "./html.js";
import { Naming, naming, WhoAmI } from "./identity.js";
import { find, pages } from "./pages/index.js";
import { Toasts } from "./parts/toast.js";
import { journeys, place } from "./router.js";
import { Ago, At } from "./time.js";

const version = document.querySelector('meta[name="rollcall-version"]').content;

function Pulse() {
  const [kind, text] = lost.value ? ["lost", "out of reach"] : stale.value ? ["stale", "stale"] : live.value > 0 ? ["live", "live"] : ["waiting", "connecting"];
  return html`<span class=${"pulse " + kind}><span class="dot" aria-hidden="true"></span>${text}</span>`;
}

/** Says since when what is shown may be old. What is known stays. */
function Banners() {
  return html`<div class="banners" role="status">
    ${lost.value && html`<p class="banner bad"><b>The server is out of reach</b> since <${At} at=${lost.value} /> (<${Ago} at=${lost.value} />). What is shown is from then; the page goes on trying.</p>`}
    ${!lost.value && stale.value && html`<p class="banner warn"><b>etcd is out of reach of the server</b> since <${At} at=${stale.value.since} /> (<${Ago} at=${stale.value.since} />). What is shown is from then. <small>${stale.value.reason}</small></p>`}
    ${unknown.value && html`<p class="banner warn"><b>The server does not know who you are.</b> <button type="button" onClick=${() => (naming.value = true)}>Give a token</button></p>`}
  </div>`;
}

function Nav({ current }) {
  return html`<nav aria-label="Pages">
    ${pages.map((p) => p.nav && html`<a key=${p.nav.href} href=${p.nav.href} aria-current=${current?.path[0] === p.path[0] ? "page" : undefined}>${p.nav.label}</a>`)}
  </nav>`;
}

/** A page, or, when its program has made a mistake, that it has: the frame stays. */
function Safe({ page, params }) {
  const [mistake] = useErrorBoundary((err) => console.error(err));
  if (mistake) return html`<h1 tabindex="-1">This page has made a mistake</h1><p class="failure" role="alert">${String(mistake.message ?? mistake)}</p><p><button type="button" onClick=${() => location.reload()}>Load it again</button></p>`;
  return html`<${page.View} ...${params} />`;
}

const Nothing = () => html`<h1 tabindex="-1">Nothing is here</h1><p>No page has this address. <a href="/services">All services</a></p>`;

function App() {
  const found = find(place.value.segments);
  useEffect(() => {
    document.title = (found ? found.page.title(found.params) : "Nothing is here") + " · rollcall";
  }, [found?.page, JSON.stringify(found?.params)]);
  useEffect(() => {
    if (journeys.value > 0) document.querySelector("main h1")?.focus({ preventScroll: true }); // a reader of the screen is told where he has come to
  }, [journeys.value]);
  return html`
    <a class="skip" href="#main" data-out>To what is on the page</a>
    <header class="top">
      <a class="brand" href="/services"><${Mark} />rollcall</a>
      <${Nav} current=${found?.page} />
      <span class="spring"></span>
      <${Pulse} />
      <${WhoAmI} />
    </header>
    <${Banners} />
    <main id="main" tabindex="-1">
      ${found ? html`<${Safe} key=${JSON.stringify([found.page.path, found.params])} ...${found} />` : html`<${Nothing} />`}
    </main>
    <footer class="bottom"><span>rollcall ${version}</span><a href="/openapi.json" data-out>API</a><a href="/readyz?verbose" data-out>Readiness</a></footer>
    <${Toasts} />
    <${Naming} />`;
}

const Mark = () => html`<svg viewBox="0 0 16 16" aria-hidden="true"><rect width="16" height="16" rx="3.5" class="ground" /><path d="M3.5 5l1 1 1.8-2M8.5 5h4M3.5 11l1 1 1.8-2M8.5 11h4" class="line" /></svg>`;

render(html`<${App} />`, document.getElementById("app"));
