"""Calls the unary method of testing.v1.Echo over a Unix socket: hyper_h2_client.py PATH COUNT. Prints the statuses and the received bytes."""

import socket
import sys

import h2.config
import h2.connection
import h2.events

FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/testing.v1.Echo/Unary"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
PAYLOAD = b"\x00\x00\x00\x00\x04\x1a\x02hi"

connection = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True))
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
client.connect(sys.argv[1])
connection.initiate_connection()
open_streams = set()
for _ in range(int(sys.argv[2])):
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, FIELDS)
    connection.send_data(stream, PAYLOAD, end_stream=True)
    open_streams.add(stream)
client.sendall(connection.data_to_send())

statuses = []
received = b""
while open_streams:
    data = client.recv(65536)
    if not data:
        raise SystemExit("the server closed the connection")
    for event in connection.receive_data(data):
        if isinstance(event, h2.events.DataReceived):
            received += event.data
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            statuses += [value for name, value in event.headers if name in (b"grpc-status", "grpc-status")]
        elif isinstance(event, h2.events.StreamEnded):
            open_streams.discard(event.stream_id)
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            raise SystemExit(str(event))
    client.sendall(connection.data_to_send())
connection.close_connection()
client.sendall(connection.data_to_send())
print(len(statuses), {status if isinstance(status, str) else status.decode() for status in statuses}, received == PAYLOAD * len(statuses))
