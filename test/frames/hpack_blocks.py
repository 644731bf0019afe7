"""Header blocks of the library hpack: hpack_blocks.py seed count. Writes a line of JSON for each block: its connection, bytes, and fields.

Reads blocks in hexadecimal from standard input first, one a line, and writes the fields of each.
"""

import json
import random
import sys

from hpack import Decoder, Encoder

for line in sys.stdin:
    fields = Decoder(max_header_list_size=10_000_000).decode(bytes.fromhex(line.strip()), raw=True)
    print(json.dumps([part.decode("latin1") for field in fields for part in field[:2]]))

dice = random.Random(int(sys.argv[1]))
NAMES = ["grpc-status", "grpc-message", "content-type", "date", "x-request-id", "server", "set-cookie", "x-long-name-of-a-field"]
VALUES = ["0", "13", "application/grpc", "Mon, 21 Oct 2013 20:13:21 GMT", "", "a" * 300]
ALPHABET = "".join(chr(code) for code in range(0x21, 0x7F)) + "\u00e9\u00ff"
encoder = Encoder()
connection = 0
for _ in range(int(sys.argv[2])):
    if dice.random() < 0.02:
        encoder, connection = Encoder(), connection + 1
    if dice.random() < 0.1:
        encoder.header_table_size = dice.choice([0, 31, 100, 500, 4096])
    fields = []
    for _ in range(dice.randrange(8)):
        value = dice.choice(VALUES) if dice.random() < 0.6 else "".join(dice.choices(ALPHABET, k=dice.randrange(60)))
        fields.append((dice.choice(NAMES).encode(), value.encode("latin1")))
    block = encoder.encode(fields, huffman=dice.random() < 0.7)
    flat = [part.decode("latin1") for field in fields for part in field]
    print(json.dumps({"connection": connection, "block": block.hex(), "fields": flat}))
