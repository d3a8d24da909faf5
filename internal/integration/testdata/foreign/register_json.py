"""Keeps an instance registered by heartbeats over HTTP: python3 register_json.py http://127.0.0.1:7052 orders 10.0.0.1:8080

Needs nothing but Python.
"""
import json
import signal
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

server, service, addr = sys.argv[1:]
instances = f"{server}/v1/services/{urllib.parse.quote(service, safe='')}/instances"
own = f"{instances}/{urllib.parse.quote(addr, safe='')}"


def post(url, **body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


leaving = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: leaving.set())
token = None
while True:
    wait = 1.0  # until the next try, when there is no answer
    try:
        if token is None:
            token = post(instances, instance={"addr": addr})["token"]
            print("registered", flush=True)
        wait = float(post(own + "/heartbeat", token=token)["heartbeatInterval"].removesuffix("s"))
    except urllib.error.HTTPError as err:
        print("refused:", err.code, json.load(err)["message"], flush=True)
        if err.code == 404:
            token = None  # the registration has ended: register again
        elif err.code < 500:
            raise
    except OSError as err:
        print("no answer:", err, flush=True)
    if leaving.wait(wait):
        break
if token is not None:
    post(own + "/deregister", token=token)
print("left", flush=True)
