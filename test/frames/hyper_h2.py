"""What the library h2 understands of the bytes of a server.

Reads lines of hexadecimal bytes from standard input, each the bytes that a client with four open requests receives. Writes a line of JSON
for each: the events of every stream in order, and whether the connection ended with an error.
"""

import json
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x"), ("te", "trailers")]

for line in sys.stdin:
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="latin1", validate_inbound_headers=False))
    connection.initiate_connection()
    streams = {1: [], 3: [], 5: [], 7: []}
    for stream in streams:
        connection.send_headers(stream, REQUEST)
    broken = False
    terminated = None
    try:
        for event in connection.receive_data(bytes.fromhex(line.strip())):
            if isinstance(event, ConnectionTerminated):
                terminated = [event.last_stream_id, int(event.error_code), (event.additional_data or b"").decode("latin1")]
            events = streams.get(getattr(event, "stream_id", None))
            if events is None:
                continue
            if isinstance(event, (ResponseReceived, TrailersReceived, InformationalResponseReceived)):
                events.append(["headers", *[part for field in event.headers for part in field[:2]]])
            elif isinstance(event, DataReceived) and event.data:
                if events and events[-1][0] == "data":
                    events[-1][1] += event.data.hex()
                else:
                    events.append(["data", event.data.hex()])
            elif isinstance(event, StreamEnded):
                events.append(["end"])
            elif isinstance(event, StreamReset) and event.remote_reset:
                events.append(["reset", int(event.error_code)])
    except ProtocolError:
        broken = True
    print(json.dumps({"streams": list(streams.values()), "goaway": terminated, "broken": broken}))
