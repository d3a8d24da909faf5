// Calls a service that xDS finds, as a program in JavaScript does that takes gRPC as it is: nothing is tried again.
//
// GRPC_XDS_BOOTSTRAP names the client's bootstrap. What it takes and what it writes down is the contract of callers in docs/chaos.md.
const { setMaxListeners } = require("node:events");
const fs = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");
const grpc = require("@grpc/grpc-js");
require("@grpc/grpc-js-xds").register();

const methods = { quick: "Quick", slow: "Slow", stream: "Stream" };
const lasts = { quick: 20, slow: 1000, stream: 300 }; // the work of a call, in milliseconds
const nap = 5;
const tooLate = 20;

const flags = { callers: "40", rate: "500" }; // how many there are, and how often those with a fixed rate call, together, in a second
for (let words = process.argv.slice(2); words.length > 0; words = words.slice(2)) {
  flags[words[0].replace(/^-+/, "")] = words[1];
}
const journal = fs.openSync(flags.journal, "w");
const client = new grpc.Client(`xds:///${flags.service}`, grpc.credentials.createInsecure());
const stopping = new AbortController();
const stopped = stopping.signal;
setMaxListeners(0, stopped); // each caller that pauses is one

const tell = (line) => fs.writeSync(journal, `${JSON.stringify(line)}\n`);
const now = () => Number(process.hrtime.bigint());
const same = (bytes) => bytes;
const pause = (ms) => sleep(Math.max(0, ms), undefined, { signal: stopped }).catch(() => {});

// begin begins a call, and has ended called with its status and who answered.
function begin(kind, ended) {
  const path = `/rollcall.chaos.Work/${methods[kind]}`;
  const options = { deadline: Date.now() + lasts[kind] + 10000 };
  const call =
    kind === "stream"
      ? client.makeServerStreamRequest(path, same, same, Buffer.alloc(0), options)
      : client.makeUnaryRequest(path, same, same, Buffer.alloc(0), options, () => {});
  call.on("data", () => {}); // or a stream would not go on
  call.on("error", () => {}); // the status says it, too
  call.on("status", (status) => ended(status, call.getPeer()));
}

// one makes a call, takes it down, and tells whether it was answered.
function one(kind) {
  return new Promise((resolve) => {
    const began = now();
    begin(kind, (status, addr) => {
      const line = { what: "call", kind, begin: began, end: now(), addr, code: grpc.status[status.code] };
      tell(status.code === grpc.status.OK ? line : { ...line, message: status.details });
      resolve(status.code === grpc.status.OK);
    });
  });
}

// closed makes a call when the one before has ended, and after one that failed a pause.
async function closed(kind) {
  while (!stopped.aborted) {
    if (!(await one(kind))) {
      await pause(lasts[kind]);
    }
  }
}

// open begins a call each interval, whatever becomes of it.
async function open(every) {
  const calls = new Set();
  let due = performance.now() + Math.random() * every;
  for (let turn = 0; ; turn++) {
    await pause(due - performance.now());
    if (stopped.aborted) {
      break;
    }
    const call = one({ 7: "slow", 15: "stream" }[turn % 16] ?? "quick").then(() => calls.delete(call));
    calls.add(call);
    due = Math.max(due + every, performance.now()); // what a stalled machine has missed is not made up for
  }
  await Promise.all(calls);
}

// noteStalls takes down when the one thread that does everything came to it late: what is there to be heard of a call waited, too.
async function noteStalls() {
  for (;;) {
    const due = now() + nap * 1e6;
    await sleep(nap);
    const woken = now();
    if (woken - due > tooLate * 1e6) {
      tell({ what: "stalled", begin: due, end: woken });
    }
  }
}

// ready waits until the client has found a server: the first calls would wait for that, too, and for code to be compiled.
function ready() {
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + 30000, (err) => (err ? reject(err) : resolve()));
  });
}

// Of eight callers four make quick calls, one slow calls and one streams, and two call at a fixed rate.
async function main() {
  process.on("SIGTERM", () => stopping.abort());
  const kinds = ["quick", "quick", "quick", "quick", "slow", "stream", undefined, undefined];
  const callers = Array.from({ length: Number(flags.callers) }, (_, n) => kinds[n % kinds.length]);
  const paced = callers.filter((kind) => kind === undefined).length;
  await ready();
  noteStalls();
  await Promise.all(callers.map((kind) => (kind ? closed(kind) : open((paced * 1000) / Number(flags.rate)))));
  process.exit(0); // the client of xDS would go on
}

main();
