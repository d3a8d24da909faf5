"""Keeps an instance registered by heartbeats over gRPC: python3 register.py 127.0.0.1:7051 orders 10.0.0.1:8080

Needs python3-grpcio, and the API's description: buf build api -o rollcall.binpb
"""
import signal
import sys
import threading

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

pool = descriptor_pool.DescriptorPool()
with open("rollcall.binpb", "rb") as f:
    for file in descriptor_pb2.FileDescriptorSet.FromString(f.read()).file:
        pool.AddSerializedFile(file.SerializeToString())


def message(name):
    """Returns the class of a message of the API."""
    described = pool.FindMessageTypeByName("rollcall.v1." + name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(described)
    return message_factory.MessageFactory(pool).GetPrototype(described)  # protobuf before 4.22


def call(name, **fields):
    method = channel.unary_unary("/rollcall.v1.RegistrationService/" + name,
                                 request_serializer=message(name + "Request").SerializeToString,
                                 response_deserializer=message(name + "Response").FromString)
    return method(message(name + "Request")(**fields), timeout=5, wait_for_ready=True)


server, service, addr = sys.argv[1:]
channel = grpc.insecure_channel(server, [("grpc.max_reconnect_backoff_ms", 2000)])  # not up to two minutes: that is longer than a TTL
leaving = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: leaving.set())
token = None
while True:
    wait = 1  # until the next try, when there is no answer
    try:
        if token is None:
            token = call("Register", service=service, instance={"addr": addr}).token
            print("registered", flush=True)
        wait = call("Heartbeat", service=service, id=addr, token=token).heartbeat_interval.ToTimedelta().total_seconds()
    except grpc.RpcError as err:
        print("refused:", err.code().name, err.details(), flush=True)
        if err.code() is grpc.StatusCode.NOT_FOUND:
            token = None  # the registration has ended: register again
        elif err.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
    if leaving.wait(wait):
        break
if token is not None:
    call("Deregister", service=service, id=addr, token=token)
print("left", flush=True)
