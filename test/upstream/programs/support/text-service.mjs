import grpc from '@grpc/grpc-js';

const asText = {
  requestSerialize: (text) => Buffer.from(text),
  requestDeserialize: (bytes) => bytes.toString(),
  responseSerialize: (text) => Buffer.from(text),
  responseDeserialize: (bytes) => bytes.toString(),
};
const method = (name, requestStream, responseStream) => ({
  path: `/text.Text/${name}`,
  requestStream,
  responseStream,
  ...asText,
});

/** A service with one method of each kind. Its messages are strings. */
export const TEXT = {
  unary: method('Unary', false, false),
  upload: method('Upload', true, false),
  feed: method('Feed', false, true),
  chat: method('Chat', true, true),
};

const TextClient = grpc.makeGenericClientConstructor(TEXT, 'Text');

/** Starts a grpc-js server on 127.0.0.1 with `handlers` for some of the methods. */
export async function startTextServer(handlers, options = {}, credentials = grpc.ServerCredentials.createInsecure()) {
  const server = new grpc.Server(options);
  server.addService(TEXT, handlers);
  const port = await new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { server, port, target: `127.0.0.1:${port}` };
}

/** Creates a grpc-js client with a separate connection. */
export function textClient(target, options = {}, credentials = grpc.credentials.createInsecure()) {
  return new TextClient(target, credentials, { 'grpc.use_local_subchannel_pool': 1, ...options });
}

/** Resolves to the response of a unary call, or to its error. */
export function answerOf(client, options = {}) {
  return new Promise((resolve) => {
    client.unary('request', options, (error, answer) => resolve(error ?? answer));
  });
}

/** Resolves when `client` has a connection. */
export async function connected(client) {
  await new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + 60_000, (error) => (error ? reject(error) : resolve()));
  });
}
