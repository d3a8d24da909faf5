"""Calls a service that xDS finds, as a program in Python does that takes gRPC as it is: nothing is tried again.

GRPC_XDS_BOOTSTRAP names the client's bootstrap. What it takes and what it writes down is the contract of callers in docs/chaos.md.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import time

import grpc

SERVICE = "/rollcall.chaos.Work/"
LASTS = {"quick": 0.02, "slow": 1, "stream": 0.3}  # the work of a call, in seconds
NAP, TOO_LATE = 0.005, 0.02


class Load:
    """Calls by many callers at once, until stopped is set."""

    def __init__(self, channel, journal):
        self.quick = channel.unary_unary(SERVICE + "Quick")  # bytes there, and back
        self.slow = channel.unary_unary(SERVICE + "Slow")
        self.stream = channel.unary_stream(SERVICE + "Stream")
        self.journal = journal
        self.stopped = asyncio.Event()

    def tell(self, **line):
        os.write(self.journal, (json.dumps(line) + "\n").encode())

    async def run(self, callers, rate):
        """Of eight callers four make quick calls, one slow calls and one streams, and two call at a fixed rate."""
        kinds = ["quick"] * 4 + ["slow", "stream", None, None]
        paced = sum(kinds[n % 8] is None for n in range(callers))
        stalls = asyncio.create_task(self.note_stalls())
        await asyncio.gather(
            *(self.closed(kinds[n % 8]) if kinds[n % 8] else self.open(paced / rate) for n in range(callers))
        )
        stalls.cancel()

    async def closed(self, kind):
        """Makes a call when the one before has ended, and after one that failed a pause."""
        while not self.stopped.is_set():
            if not await self.one(kind):
                await self.pause(LASTS[kind])

    async def open(self, every):
        """Begins a call each interval, whatever becomes of it."""
        calls = set()
        due = time.monotonic() + random.uniform(0, every)
        turn = 0
        while True:
            await self.pause(due - time.monotonic())
            if self.stopped.is_set():
                break
            call = asyncio.create_task(self.one({7: "slow", 15: "stream"}.get(turn % 16, "quick")))
            calls.add(call)
            call.add_done_callback(calls.discard)
            turn += 1
            due = max(due + every, time.monotonic())  # what a stalled machine has missed is not made up for
        await asyncio.gather(*calls)

    async def one(self, kind):
        """Makes a call, takes it down, and tells whether it was answered."""
        begin = time.monotonic_ns()
        reply, failed = b"", {}
        try:
            if kind == "stream":
                async for reply in self.stream(b"", timeout=LASTS[kind] + 10):
                    pass
            else:
                reply = await getattr(self, kind)(b"", timeout=LASTS[kind] + 10)
        except grpc.RpcError as err:
            failed = {"code": err.code().name, "message": err.details()}
        addr = reply[2:].decode()  # behind the field's number and length
        self.tell(**{"what": "call", "kind": kind, "begin": begin, "end": time.monotonic_ns(), "addr": addr, "code": "OK", **failed})
        return not failed

    async def pause(self, seconds):
        try:
            await asyncio.wait_for(self.stopped.wait(), max(0, seconds))
        except asyncio.TimeoutError:
            pass

    async def note_stalls(self):
        """Takes down when the one thread that does everything came to it late: what is there to be heard of a call waited, too."""
        while True:
            due = time.monotonic_ns() + int(NAP * 1e9)
            await asyncio.sleep(NAP)
            now = time.monotonic_ns()
            if now - due > TOO_LATE * 1e9:
                self.tell(what="stalled", begin=due, end=now)


async def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("-etcd", help="etcd's members, which nobody needs who asks by xDS")
    flags.add_argument("-service", required=True, help="the service to call")
    flags.add_argument("-journal", required=True, help="file to write the journal to")
    flags.add_argument("-callers", type=int, default=40, help="how many callers there are")
    flags.add_argument("-rate", type=float, default=500, help="calls per second that those with a fixed rate make together")
    args = flags.parse_args()
    journal = os.open(args.journal, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    async with grpc.aio.insecure_channel("xds:///" + args.service) as channel:
        load = Load(channel, journal)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stopped.set)
        await asyncio.wait_for(channel.channel_ready(), 30)  # the first calls would wait for that, too
        await load.run(args.callers, args.rate)


asyncio.run(main())
