"""A server of testing.v1.Echo on the HTTP/2 library hyper-h2 and a Unix socket: python3 echo_hyper_h2.py path. peers.ts describes its
responses."""

import asyncio
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated


class Call:
    def __init__(self, headers):
        self.headers = dict(headers)
        self.received = bytearray()
        self.unsent = bytearray()
        self.count = 0
        self.trailers = None


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.calls = {}
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin1"))
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.begin(event.stream_id, Call(event.headers))
            elif isinstance(event, DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.stream_id in self.calls:
                    self.receive(event.stream_id, event.data)
            elif isinstance(event, StreamEnded) and event.stream_id in self.calls:
                self.end(event.stream_id)
            elif isinstance(event, StreamReset):
                self.calls.pop(event.stream_id, None)
            elif isinstance(event, WindowUpdated):
                for stream_id in list(self.calls):
                    self.send(stream_id)
        self.transport.write(self.h2.data_to_send())

    def begin(self, stream_id, call):
        response = [(":status", "200"), ("content-type", "application/grpc"), ("x-echo", call.headers.get("x-echo", ""))]
        if "x-status" in call.headers:
            status = [("grpc-status", "5"), ("grpc-message", "no such %C3%A9")]
            self.h2.send_headers(stream_id, response + status, end_stream=True)
        elif "x-wait" not in call.headers:
            self.calls[stream_id] = call
            self.h2.send_headers(stream_id, response)

    def receive(self, stream_id, data):
        call = self.calls[stream_id]
        call.received += data
        while len(call.received) >= 5:
            end = 5 + int.from_bytes(call.received[1:5], "big")
            if len(call.received) < end:
                break
            message = bytes(call.received[5:end])
            del call.received[:end]
            self.answer(call, call.headers[":path"].rsplit("/", 1)[1], message)
        self.send(stream_id)

    def answer(self, call, method, message):
        call.count += 1
        if method == "ServerStream":
            for _ in range(sum((byte & 0x7F) << (7 * at) for at, byte in enumerate(message[1:]))):
                self.queue(call, b"\x10\x01")
        elif method != "ClientStream":
            self.queue(call, message)

    def queue(self, call, message):
        call.unsent += b"\0" + len(message).to_bytes(4, "big") + message

    def end(self, stream_id):
        call = self.calls[stream_id]
        if call.headers[":path"].endswith("/ClientStream"):
            self.queue(call, bytes([0x10, call.count]))
        call.trailers = [("grpc-status", "0")]
        self.send(stream_id)

    def send(self, stream_id):
        call = self.calls[stream_id]
        while call.unsent:
            size = min(len(call.unsent), self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if size <= 0:
                return
            self.h2.send_data(stream_id, bytes(call.unsent[:size]))
            del call.unsent[:size]
        if call.trailers is not None:
            self.h2.send_headers(stream_id, call.trailers, end_stream=True)
            del self.calls[stream_id]


async def main():
    server = await asyncio.get_running_loop().create_unix_server(Echo, sys.argv[1])
    await server.serve_forever()


asyncio.run(main())
