"""Keeps an instance registered by a stream: python3 session.py 127.0.0.1:7051 orders 10.0.0.1:8080

Needs python3-grpcio, and the API's description: buf build api -o rollcall.binpb
"""
import queue
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


server, service, addr = sys.argv[1:]
channel = grpc.insecure_channel(server, [("grpc.max_reconnect_backoff_ms", 2000)])  # not up to two minutes: that is longer than a TTL
session = channel.stream_stream("/rollcall.v1.RegistrationService/Session",
                                request_serializer=message("SessionRequest").SerializeToString,
                                response_deserializer=message("SessionResponse").FromString)
leaving = threading.Event()
asks = queue.Queue()
token = None


def leave(*_):
    leaving.set()
    asks.put({"deregister": {"service": service, "id": addr, "token": token}})


def hold():
    """Holds the registration until the stream breaks, or until we leave."""
    global asks, token
    asks = queue.Queue()
    if token is None:
        asks.put({"register": {"service": service, "instance": {"addr": addr}}})
    else:
        asks.put({"resume": {"service": service, "id": addr, "token": token}})
    requests = (message("SessionRequest")(**ask) for ask in iter(asks.get, None))
    for news in session(requests, wait_for_ready=True):
        kind = news.WhichOneof("answer")
        print(kind, flush=True)
        if kind == "registered":
            token = news.registered.token
        elif kind == "failed":
            print(news.failed.message, flush=True)
            if news.failed.code == grpc.StatusCode.NOT_FOUND.value[0]:
                token = None  # the registration has ended: register again
            return
        elif kind == "ended":
            sys.exit("ended: " + news.ended.message)  # somebody else has the id now
        elif kind == "deregistered":
            return


signal.signal(signal.SIGTERM, leave)
while not leaving.is_set():
    try:
        hold()
    except grpc.RpcError as err:
        print("refused:", err.code().name, err.details(), flush=True)
        if err.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
    finally:
        asks.put(None)  # ends the requests of a stream that has ended
    leaving.wait(0 if leaving.is_set() else 1)
print("left", flush=True)
