// Keeps an instance registered by heartbeats over gRPC: node register.js 127.0.0.1:7051 orders 10.0.0.1:8080
//
// Needs @grpc/grpc-js and @grpc/proto-loader, and API, the folder api/ of rollcall's sources.
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");
const { promisify } = require("node:util");

const api = process.env.API ?? "api";
const definition = protoLoader.loadSync("rollcall/v1/registration.proto", { includeDirs: [api, `${api}/third_party`] });
const { RegistrationService } = grpc.loadPackageDefinition(definition).rollcall.v1;

const [server, service, addr] = process.argv.slice(2);
const client = new RegistrationService(server, grpc.credentials.createInsecure(), {
  "grpc.max_reconnect_backoff_ms": 2000, // not up to two minutes: that is longer than a TTL
});
const call = (method, request) => promisify(client[method]).call(client, request, { deadline: Date.now() + 5000 });

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
        ({ token } = await call("register", { service, instance: { addr } }));
        console.log("registered");
      }
      const { heartbeatInterval } = await call("heartbeat", { service, id: addr, token });
      wait = Number(heartbeatInterval.seconds) * 1000 + heartbeatInterval.nanos / 1e6;
    } catch (err) {
      console.log("refused:", err.message);
      if (err.code === grpc.status.NOT_FOUND) token = undefined; // the registration has ended: register again
      else if (err.code !== grpc.status.UNAVAILABLE && err.code !== grpc.status.DEADLINE_EXCEEDED) throw err;
    }
    let timer;
    await Promise.race([left, new Promise((resolve) => { timer = setTimeout(resolve, wait); })]);
    clearTimeout(timer);
  }
  if (token !== undefined) await call("deregister", { service, id: addr, token });
  client.close();
  console.log("left");
})();
