// How programs and people find the service: to be copied.
import { html } from "../html.js";
import { Copy } from "../parts/text.js";

/** A text that a shell takes as one word. */
const quoted = (text) => (/^[\w./:@-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");

function snippets(service) {
  const url = `${location.origin}/v1/services/${encodeURIComponent(service)}`;
  return [
    ["Go", `conn, err := rollcallgrpc.NewClient(${JSON.stringify(service)}, reg, grpc.WithTransportCredentials(insecure.NewCredentials()))`],
    ["xDS", `xds:///${service}`],
    ["DNS", `dig @${location.hostname} -p 7053 ${quoted(service + ".service.rollcall.")} SRV`],
    ["HTTP", `curl ${quoted(url)}`],
    ["CLI", `rollcall get ${quoted(service)}`],
  ];
}

export const Connect = ({ service }) => html`<section class="card" aria-labelledby="connect">
  <h2 id="connect">Call it <small>ports as they are by default</small></h2>
  ${snippets(service).map(([name, text]) => html`<div key=${name} class="snippet"><div><h3>${name}</h3><${Copy} text=${text} what=${"the snippet for " + name} /></div><pre tabindex="0" aria-label=${name}>${text}</pre></div>`)}
</section>`;
