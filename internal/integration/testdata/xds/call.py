"""Calls a service that xDS finds, some 300 times a second, and says what becomes of each call: python3 call.py jie-test

GRPC_XDS_BOOTSTRAP names the client's bootstrap. A line is "ok", who answered; or "failed", when the call began (in milliseconds since 1970),
how long it took (in milliseconds), the code, and why.
"""

import sys
import time

import grpc

channel = grpc.insecure_channel("xds:///" + sys.argv[1])
who = channel.unary_unary("/helloworld.Greeter/SayHello")  # bytes there, and back


def call():
    began = time.time()

    def ended(future):
        try:
            line = "ok %s\n" % future.result()[2:].decode()  # behind the field's number and length
        except grpc.RpcError as err:
            took = time.time() - began
            line = "failed %d %d %s %s\n" % (began * 1000, took * 1000, err.code().name, err.details().replace("\n", " "))
        sys.stdout.write(line)
        sys.stdout.flush()

    who.future(b"", timeout=10).add_done_callback(ended)


due = time.monotonic()
while True:
    call()
    due = max(due + 0.003, time.monotonic() - 0.1)  # what a stalled machine has missed is not made up for
    time.sleep(max(0, due - time.monotonic()))
