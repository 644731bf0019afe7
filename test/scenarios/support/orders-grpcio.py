"""A grpcio server of orders.v1.Orders in its own process: python3 orders-grpcio.py '{ "port": 0, ... }'.

upstream.ts describes its arguments, responses, and log. orders-grpc-js.mjs behaves the same, except for the lines about ended calls and
health in its log. Like a child of Node, this server exchanges lines of JSON with its parent process over the socket in NODE_CHANNEL_FD.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time

import grpc

settings = json.loads(sys.argv[1])
log = open(settings["log"], "a", buffering=1)
sequence = 0
free_at = time.monotonic()
ending = asyncio.Event()


def decode(data):
    """Returns the fields of a message by number. Each must be a varint or text."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            fields[tag >> 3] = varint()
        else:
            length = varint()
            fields[tag >> 3] = data[at : at + length]
            at += length
    return {number: value if isinstance(value, int) else value.decode() for number, value in fields.items()}


def encode(fields):
    """Returns an encoded message with numbers, strings, and encoded messages as fields."""
    out = bytearray()

    def varint(value):
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)

    for number, value in fields.items():
        if isinstance(value, int):
            varint(number << 3)
            varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            varint(number << 3 | 2)
            varint(len(data))
            out.extend(data)
    return bytes(out)


def now():
    return int(time.time() * 1000)


def write(context, what, key):
    previous = dict(context.invocation_metadata() or ()).get("grpc-previous-rpc-attempts", 0)
    peer = context.peer().removeprefix("ipv4:")
    log.write(f"{now()} {what} {key} {previous} {peer}\n")
    return int(previous)


def next_sequence():
    global sequence
    sequence += 1
    return sequence


def enqueue():
    """Queues a request. Returns the seconds until the server has processed it and the requests before it."""
    global free_at
    free_at = max(free_at, time.monotonic()) + 1 / settings["perSecond"]
    return free_at - time.monotonic()


def unary(what, key_field):
    async def answer(request, context):
        key = request.get(key_field, "")
        previous = write(context, what, key)
        _, code, times, *_ = *key.split("/"), None, None
        try:
            if free_at - time.monotonic() > settings["queueMs"] / 1000:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the queue is full")
            await asyncio.sleep(settings["delayMs"] / 1000 + enqueue())
            fails = code and (times is None or previous < int(times))
            if fails and code == "NEVER":
                await asyncio.Event().wait()
            if fails:
                await context.abort(grpc.StatusCode[code], f"requested by {key}")
        except asyncio.CancelledError:
            write(context, "ended", what)
            raise
        return {1: key, 2: key, 3: str(os.getpid()), 5: next_sequence()}

    return answer


async def watch(request, context):
    at = request.get(1, 0)
    write(context, "Watch", at)
    try:
        while not ending.is_set():
            await asyncio.sleep(settings["eventsEveryMs"] / 1000)
            at += 1
            yield {1: at, 2: encode({1: str(at)})}
    except (asyncio.CancelledError, GeneratorExit):
        write(context, "ended", "Watch")
        raise


async def session(requests, context):
    try:
        async for request in requests:
            write(context, "Session", request[1])
            yield {1: request[1], 2: next_sequence()}
    finally:
        # If the connection is lost, the request iterator ends without an error.
        write(context, "ended", "Session")


STATUSES = {"SERVING": 1, "NOT_SERVING": 2}
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
health_changed = asyncio.Event()


async def watch_health(_request, _context):
    """Sends the current status, and each change."""
    while not ending.is_set():
        yield {1: STATUSES[settings["health"]]}
        await health_changed.wait()


class HealthService(grpc.GenericRpcHandler):
    """Logs each Watch, even if the server has no health service."""

    def service(self, handler_call_details):
        if handler_call_details.method != HEALTH_WATCH:
            return None
        log.write(f"{now()} Health - 0 -\n")
        return settings["health"] and grpc.unary_stream_rpc_method_handler(watch_health, **CODEC)


def change(options):
    """Changes settings of the running server."""
    global health_changed
    settings.update(options)
    if "health" in options:
        health_changed.set()
        health_changed = asyncio.Event()


CODEC = {"request_deserializer": decode, "response_serializer": encode}
METHODS = {
    "Get": grpc.unary_unary_rpc_method_handler(unary("Get", 1), **CODEC),
    "Create": grpc.unary_unary_rpc_method_handler(unary("Create", 1), **CODEC),
    "Watch": grpc.unary_stream_rpc_method_handler(watch, **CODEC),
    "Session": grpc.stream_stream_rpc_method_handler(session, **CODEC),
}


async def main():
    loop = asyncio.get_running_loop()
    parent = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
    reader, writer = await asyncio.open_unix_connection(sock=parent)

    def send(message):
        writer.write(json.dumps(message).encode() + b"\n")

    options = [("grpc.so_reuseport", 0), *settings["serverOptions"].items()]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("orders.v1.Orders", METHODS), HealthService()))

    async def listen():
        address, tls = f"{settings['host']}:{settings['port']}", settings["tls"]
        if tls:
            pair = open(tls["key"], "rb").read(), open(tls["cert"], "rb").read()
            port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            port = server.add_insecure_port(address)
        await server.start()
        send({"listening": port})
        send({"boundAt": now()})

    async def end():
        # Like tryShutdown() of grpc-js, this lets running calls finish. Feeds never end on their own.
        ending.set()
        health_changed.set()
        await server.stop(settings["drainMs"] / 1000)
        os._exit(0)

    loop.add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(end()))
    if settings["standby"]:
        send({"listening": settings["port"]})
        listen_at = json.loads(await reader.readline())["listenAt"]
        await asyncio.sleep(max(0, listen_at - now()) / 1000)
    await listen()
    while line := await reader.readline():
        change(json.loads(line))
    # The parent process has ended.
    os._exit(0)


asyncio.run(main())
