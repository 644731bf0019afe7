import { create, createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { Http2SessionManager, createGrpcTransport } from '@connectrpc/connect-node';
import { loadContract } from '../contract.mjs';
import { overPromises } from './promise-client.mjs';

/**
 * Connect with its gRPC transport, and protobuf-es, which it is made for.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const baseUrl = `http://${address}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  const client = createClient(describeService(), createGrpcTransport({ baseUrl, sessionManager }));
  return overPromises(
    /** @type {import('./promise-client.mjs').PromiseClient} */ (/** @type {unknown} */ (client)),
    () => {
      sessionManager.abort();
    },
  );
}

/** The descriptor that generated code would hold, built as it builds it: from the file's binary descriptor. */
function describeService() {
  const { fileDescriptorProtos } = /** @type {import('@grpc/proto-loader').MessageTypeDefinition<object, object>} */ (
    loadContract()['bench.Order']
  );
  const file = fileDescriptorProtos.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  const service = createFileRegistry(create(FileDescriptorSetSchema, { file })).getService('bench.Bench');
  if (service === undefined) throw new Error('bench.proto has no service bench.Bench');
  return service;
}
