"""Calls a unary method with grpcio, and learns its messages only from the descriptors that a server returned by reflection.

    python3 reflected_call.py TARGET METHOD < INPUT

INPUT is JSON: {"files": [base64 of each FileDescriptorProto], "request": message as JSON}. METHOD is the full name, such as
orders.v1.Orders.Get. Writes JSON: {"files": {name: [imports]}, "response": message as JSON}.
"""

import base64
import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

target, name = sys.argv[1:]
given = json.load(sys.stdin)
files = {}
for text in given["files"]:
    file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text))
    files[file.name] = file


class Files:
    """The files, as the database of a descriptor pool."""

    def FindFileByName(self, name):
        return files[name]

    def FindFileContainingSymbol(self, symbol):
        raise KeyError(symbol)


pool = descriptor_pool.DescriptorPool(Files())
for file in files:
    pool.FindFileByName(file)
service, method_name = name.rsplit(".", 1)
method = pool.FindServiceByName(service).FindMethodByName(method_name)
factory = message_factory.MessageFactory(pool)
Request, Response = factory.GetPrototype(method.input_type), factory.GetPrototype(method.output_type)
with grpc.insecure_channel(target) as channel:
    call = channel.unary_unary(f"/{service}/{method_name}", Request.SerializeToString, Response.FromString)
    response = call(json_format.ParseDict(given["request"], Request()), timeout=20)
print(
    json.dumps(
        {
            "files": {file.name: sorted(file.dependency) for file in files.values()},
            "response": json_format.MessageToDict(response, preserving_proto_field_name=True),
        }
    )
)
