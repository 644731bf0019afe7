"""Makes the calls that it reads as lines of JSON: grpcio_client.py TARGET [CA]. foreign-clients.ts describes them."""

import asyncio
import json
import sys
from base64 import b64decode, b64encode

import grpc

KINDS = {"unary": "unary_unary", "clientStream": "stream_unary", "serverStream": "unary_stream", "bidi": "stream_stream"}


def text(value):
    return b64encode(value).decode() if isinstance(value, bytes) else value


async def make(channel, asked, calls):
    requests = [b64decode(request) for request in asked["requests"]]
    kind = KINDS[asked["kind"]]
    call = getattr(channel, kind)(asked["path"])(
        iter(requests) if kind.startswith("stream") else requests[0],
        metadata=[(name, b64decode(value) if name.endswith("-bin") else value) for name, value in asked["metadata"].items()],
        timeout=asked["timeoutMs"] / 1000 if asked["timeoutMs"] else None,
        compression=grpc.Compression.Gzip if asked["gzip"] else None,
    )
    calls[asked["id"]] = call
    messages = []
    try:
        if kind.endswith("stream"):
            async for message in call:
                messages.append(text(message))
        else:
            messages.append(text(await call))
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        pass
    code = (await call.code()).value[0]
    headers, trailers = await call.initial_metadata(), await call.trailing_metadata()
    outcome = {
        "id": asked["id"],
        "headers": {name: text(value) for name, value in headers or ()},
        "messages": messages,
        "trailers": {name: text(value) for name, value in trailers or ()},
        "code": code,
        "details": await call.details() or "",
    }
    print(json.dumps(outcome), flush=True)


async def main(target, *ca):
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]
    if ca:
        with open(ca[0], "rb") as file:
            channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(file.read()), options)
    else:
        channel = grpc.aio.insecure_channel(target, options)
    lines = asyncio.StreamReader(limit=2**27)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    calls, tasks = {}, set()
    while line := await lines.readline():
        asked = json.loads(line)
        if asked.get("cancel"):
            calls[asked["id"]].cancel()
        else:
            tasks.add(asyncio.create_task(make(channel, asked, calls)))


asyncio.run(main(*sys.argv[1:]))
