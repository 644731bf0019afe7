"""Reads response streams, 20 at a time, and prints the number of messages: grpcio_client.py ADDRESS REQUEST_AS_HEX SECONDS"""

import sys
import threading
import time

import grpc

address, request, seconds = sys.argv[1], bytes.fromhex(sys.argv[2]), float(sys.argv[3])
until = time.monotonic() + seconds
counts = []


def read(watch):
    count = 0
    while time.monotonic() < until:
        count += sum(1 for _ in watch(request))
    counts.append(count)


with grpc.insecure_channel(address) as channel:
    watch = channel.unary_stream("/bench.Bench/Watch")
    threads = [threading.Thread(target=read, args=(watch,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(sum(counts))
