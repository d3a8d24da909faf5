// Keeps an instance registered by heartbeats over HTTP: node register_json.js http://127.0.0.1:7052 orders 10.0.0.1:8080
//
// Needs nothing but Node.
const [server, service, addr] = process.argv.slice(2);
const instances = `${server}/v1/services/${encodeURIComponent(service)}/instances`;
const own = `${instances}/${encodeURIComponent(addr)}`;

class Refusal extends Error {
  constructor(code, message) {
    super(`${code} ${message}`);
    this.code = code;
  }
}

async function post(url, body) {
  const response = await fetch(url, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: AbortSignal.timeout(5000),
  });
  const answer = await response.json();
  if (!response.ok) throw new Refusal(response.status, answer.message);
  return answer;
}

let leave;
const left = new Promise((resolve) => { leave = resolve; });
let leaving = false;
process.on("SIGTERM", () => { leaving = true; leave(); });

(async () => {
  let token;
  while (!leaving) {
    let wait = 1000; // until the next try, when there is no answer
    try {
      if (token === undefined) {
        ({ token } = await post(instances, { instance: { addr } }));
        console.log("registered");
      }
      const { heartbeatInterval } = await post(`${own}/heartbeat`, { token });
      wait = parseFloat(heartbeatInterval) * 1000; // "5s"
    } catch (err) {
      console.log("refused:", err.message);
      if (err.code === 404) token = undefined; // the registration has ended: register again
      else if (err.code < 500) throw err;
    }
    let timer;
    await Promise.race([left, new Promise((resolve) => { timer = setTimeout(resolve, wait); })]);
    clearTimeout(timer);
  }
  if (token !== undefined) await post(`${own}/deregister`, { token });
  console.log("left");
})();
