"""Makes unary calls at a steady rate with grpcio.

    python3 grpcio_client.py TARGET POLICY CALLS_PER_SECOND

Writes a line `from SERVER` after the first response from each server. When its standard input closes and all calls have ended, writes
a line of JSON: {"failed": ["CODE: details", ...]}.
"""

import json
import sys
import threading
import time

import grpc

target, policy, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
REQUESTS = [b"\x0a\x02" + b"00", b"\x0a\x02" + b"20"]  # GetOrderRequest { id }: responses after 0 and 20 ms

lock = threading.Lock()
failed = []
servers = set()
calls = 0
ended_calls = threading.Semaphore(0)
over = threading.Event()


def item_of(order):
    """Returns field 3 of an Order whose other fields are short strings."""
    at = 0
    while at < len(order):
        tag, length = order[at], order[at + 1]
        if tag == 0x1A:
            return order[at + 2 : at + 2 + length].decode()
        at += 2 + length
    return ""


def ended(call):
    with lock:
        if call.code() != grpc.StatusCode.OK:
            failed.append(f"{call.code().name}: {call.details()}")
        else:
            server = item_of(call.result())
            if server not in servers:
                servers.add(server)
                print(f"from {server}", flush=True)
    ended_calls.release()


threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()

options = [
    ("grpc.lb_policy_name", policy),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
]
with grpc.insecure_channel(target, options=options) as channel:
    get = channel.unary_unary("/orders.v1.Orders/Get", request_serializer=bytes, response_deserializer=bytes)
    began = time.monotonic()
    while not over.is_set():
        while calls < (time.monotonic() - began) * rate:
            calls += 1
            get.future(REQUESTS[calls % 2], timeout=30).add_done_callback(ended)
        time.sleep(0.003)
    for _ in range(calls):
        ended_calls.acquire()

print(json.dumps({"failed": failed}), flush=True)
