"""Makes 12 unary calls one after another, and then CALLS at once. grpcio retries them as SERVICE_CONFIG requires.

    python3 overload_grpcio.py TARGET CALLS TIMEOUT_SECONDS SERVICE_CONFIG

Writes a line of JSON with the number of calls per status code: {"OK": N, "RESOURCE_EXHAUSTED": N}.
"""

import collections
import json
import sys
import threading

import grpc

target, count, timeout, service_config = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
REQUEST = b"\x0a\x011"  # GetOrderRequest { id }
WARM_UP = 12

codes = collections.Counter()
lock = threading.Lock()
ended_calls = threading.Semaphore(0)


def ended(call):
    with lock:
        codes[call.code().name] += 1
    ended_calls.release()


with grpc.insecure_channel(target, options=[("grpc.service_config", service_config)]) as channel:
    get = channel.unary_unary("/orders.v1.Orders/Get", request_serializer=bytes, response_deserializer=bytes)
    for _ in range(WARM_UP):
        get(REQUEST, timeout=timeout)
    for _ in range(count):
        get.future(REQUEST, timeout=timeout).add_done_callback(ended)
    for _ in range(count):
        ended_calls.acquire()

codes["OK"] += WARM_UP
print(json.dumps(codes), flush=True)
