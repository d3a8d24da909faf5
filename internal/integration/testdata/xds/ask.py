"""Calls services that xDS finds, one call for each line "SERVICE SECONDS" of the input, all at once, and says what becomes of each: python3 ask.py

GRPC_XDS_BOOTSTRAP names the client's bootstrap. SECONDS is the call's own time limit. The answer to the line of number N, from 0, begins with N;
then comes what call.py says of a call.
"""

import sys
import time

import grpc

channels = {}


def ask(number, service, seconds):
    if service not in channels:
        channels[service] = grpc.insecure_channel("xds:///" + service)
    began = time.time()

    def ended(future):
        try:
            line = "%d ok %s\n" % (number, future.result()[2:].decode())  # behind the field's number and length
        except grpc.RpcError as err:
            took = time.time() - began
            line = "%d failed %d %d %s %s\n" % (number, began * 1000, took * 1000, err.code().name, err.details().replace("\n", " "))
        sys.stdout.write(line)
        sys.stdout.flush()

    who = channels[service].unary_unary("/helloworld.Greeter/SayHello")  # bytes there, and back
    who.future(b"", timeout=seconds).add_done_callback(ended)


print("gRPC", grpc.__version__, flush=True)
for number, line in enumerate(sys.stdin):
    service, seconds = line.split()
    ask(number, service, float(seconds))
