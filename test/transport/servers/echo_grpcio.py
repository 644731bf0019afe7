"""A grpcio server of testing.v1.Echo on a Unix socket: python3 echo_grpcio.py path. peers.ts describes its responses."""

import asyncio
import functools
import signal
import sys

import grpc


def number(message):
    """Returns the field `number` of a message that has no other fields."""
    return sum((byte & 0x7F) << (7 * at) for at, byte in enumerate(message[1:]))


async def echo(method, requests, context):
    metadata = dict(context.invocation_metadata())
    if "x-status" in metadata:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such é")
    if "x-wait" in metadata:
        await asyncio.sleep(3600)
    await context.send_initial_metadata((("x-echo", metadata.get("x-echo", "")),))
    count = 0
    async for request in requests:
        count += 1
        if method == "ServerStream":
            for _ in range(number(request)):
                yield b"\x10\x01"
        elif method != "ClientStream":
            yield request
    if method == "ClientStream":
        yield bytes([0x10, count])


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        method = details.method.rsplit("/", 1)[1]
        return grpc.stream_stream_rpc_method_handler(functools.partial(echo, method))


async def main():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    server.add_insecure_port("unix:" + sys.argv[1])
    await server.start()
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    await ending.wait()
    await server.stop(1)


asyncio.run(main())
