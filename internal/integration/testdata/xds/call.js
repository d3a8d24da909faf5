// Calls a service that xDS finds, some 300 times a second, and says what becomes of each call: node call.js jie-test
//
// GRPC_XDS_BOOTSTRAP names the client's bootstrap. A line is "ok", who answered; or "failed", when the call began (in milliseconds since
// 1970), how long it took (in milliseconds), the code, and why.
const grpc = require("@grpc/grpc-js");
require("@grpc/grpc-js-xds").register();

const client = new grpc.Client(`xds:///${process.argv[2]}`, grpc.credentials.createInsecure());
const same = (bytes) => bytes;

function call() {
  const began = Date.now();
  client.makeUnaryRequest("/helloworld.Greeter/SayHello", same, same, Buffer.alloc(0), { deadline: began + 10000 }, (err, reply) => {
    const line = err
      ? `failed ${began} ${Date.now() - began} ${grpc.status[err.code]} ${err.details.replaceAll("\n", " ")}`
      : `ok ${reply.subarray(2)}`; // behind the field's number and length
    process.stdout.write(`${line}\n`);
  });
}

setInterval(call, 3);
