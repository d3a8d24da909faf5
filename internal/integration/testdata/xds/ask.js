// Calls services that xDS finds, one call for each line "SERVICE SECONDS" of the input, all at once, and says what becomes of each: node ask.js
//
// GRPC_XDS_BOOTSTRAP names the client's bootstrap. SECONDS is the call's own time limit. The answer to the line of number N, from 0, begins
// with N; then comes what call.js says of a call.
const grpc = require("@grpc/grpc-js");
require("@grpc/grpc-js-xds").register();

const clients = new Map();
const same = (bytes) => bytes;

function ask(number, service, seconds) {
  if (!clients.has(service)) {
    clients.set(service, new grpc.Client(`xds:///${service}`, grpc.credentials.createInsecure()));
  }
  const began = Date.now();
  const deadline = began + seconds * 1000;
  clients.get(service).makeUnaryRequest("/helloworld.Greeter/SayHello", same, same, Buffer.alloc(0), { deadline }, (err, reply) => {
    const line = err
      ? `failed ${began} ${Date.now() - began} ${grpc.status[err.code]} ${err.details.replaceAll("\n", " ")}`
      : `ok ${reply.subarray(2)}`; // behind the field's number and length
    process.stdout.write(`${number} ${line}\n`);
  });
}

console.log(`gRPC ${require("@grpc/grpc-js/package.json").version}, xDS ${require("@grpc/grpc-js-xds/package.json").version}`);
let number = 0;
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [service, seconds] = line.split(" ");
  ask(number++, service, Number(seconds));
});
