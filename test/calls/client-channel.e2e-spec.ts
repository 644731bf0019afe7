import { credentials, makeGenericClientConstructor, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { createClientFactory } from 'nice-grpc';
import type { GrpcClientEvent, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';
import { answer, type CallbackCall, type Callbacks, type Done } from './callback-calls.js';
import { startBehindProxy, startClient, startServer, toList, upTo } from './support.js';

const DEFINITION = loadSync(ECHO_PROTO)['testing.v1.Echo'] as never;
const ORDERS = { package: 'orders.v1', protoPath: 'protos/orders.proto' };

/** A stub of the Echo service that this library has not made. */
interface ForeignStub {
  unary(request: EchoRequest, signal?: AbortSignal): Promise<Echo | undefined>;
  unsafeUnary(request: EchoRequest, signal?: AbortSignal): Promise<Echo | undefined>;
  clientStream(requests: readonly EchoRequest[]): Promise<Echo | undefined>;
  serverStream(request: EchoRequest): AsyncIterable<Echo>;
  bidi(requests: readonly EchoRequest[]): AsyncIterable<Echo>;
}

const plainClient = ({ channel }: Pick<ResilientGrpcClient, 'channel'>): Callbacks => {
  const Client = makeGenericClientConstructor(DEFINITION, 'Echo');
  // The cast is safe because the constructor generates these members.
  return new Client('', credentials.createInsecure(), { channelOverride: channel }) as unknown as Callbacks;
};

function plainStub(client: ResilientGrpcClient): ForeignStub {
  const stub = plainClient(client);
  const one = (method: 'unary' | 'unsafeUnary') => (request: EchoRequest, signal?: AbortSignal) =>
    answer((done: Done) => {
      const call: CallbackCall = stub[method](request, done);
      signal?.addEventListener('abort', () => call.cancel());
    });
  const send = <T extends { write(request: EchoRequest): boolean; end(): void }>(
    call: T,
    requests: readonly EchoRequest[],
  ): T => {
    for (const request of requests) call.write(request);
    call.end();
    return call;
  };
  return {
    ...{ unary: one('unary'), unsafeUnary: one('unsafeUnary') },
    clientStream: (requests) => answer((done) => send(stub.clientStream(done), requests)),
    serverStream: (request) => stub.serverStream(request),
    bidi: (requests) => send(stub.bidi(), requests),
  };
}

/** nice-grpc's client of the Echo service, whose methods have the names in the proto file. */
interface NiceClient {
  Unary(request: EchoRequest, options: { readonly signal?: AbortSignal | undefined }): Promise<Echo>;
  UnsafeUnary(request: EchoRequest, options: { readonly signal?: AbortSignal | undefined }): Promise<Echo>;
  ClientStream(requests: AsyncIterable<EchoRequest>): Promise<Echo>;
  ServerStream(request: EchoRequest): AsyncIterable<Echo>;
  Bidi(requests: AsyncIterable<EchoRequest>): AsyncIterable<Echo>;
}

function niceStub({ channel }: ResilientGrpcClient): ForeignStub {
  // The cast is safe because nice-grpc makes these members of the definition.
  const stub = createClientFactory().create(DEFINITION, channel) as unknown as NiceClient;

  const all = async function* (requests: readonly EchoRequest[]) {
    yield* requests;
  };
  return {
    unary: (request, signal) => stub.Unary(request, { signal }),
    unsafeUnary: (request, signal) => stub.UnsafeUnary(request, { signal }),
    clientStream: (requests) => stub.ClientStream(all(requests)),
    serverStream: (request) => stub.ServerStream(request),
    bidi: (requests) => stub.Bidi(all(requests)),
  };
}

describe.each([
  ['grpc-js', plainStub],
  ['nice-grpc', niceStub],
])('a stub of %s on the channel of a client', (_, stubOn) => {
  it('makes calls of all four kinds, on the connection of the client', async () => {
    const server = await startServer();
    const client = await startClient({ url: server.url });
    const stub = stubOn(client);
    expect(await stub.unary({ text: 'tea' })).toMatchObject({ text: 'tea' });
    expect(await stub.clientStream(upTo(3))).toMatchObject({ number: 3 });
    expect(await toList(stub.serverStream({ number: 3 }))).toMatchObject(upTo(3));
    expect(await toList(stub.bidi(upTo(3)))).toMatchObject(upTo(3));
    expect(server.connections.accepted).toBe(1);
  });

  it('follows the policy of each method, which its path names', async () => {
    const server = await startServer();
    const stub = stubOn(await startClient({ url: server.url }));
    for (const method of ['Unary', 'UnsafeUnary']) server.script(method, [{ status: 'UNAVAILABLE' }, { message: {} }]);
    expect(await stub.unary({})).toBeDefined();
    await expect(stub.unsafeUnary({})).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect([server.counts('Unary').calls, server.counts('UnsafeUnary').calls]).toEqual([2, 1]);
  });

  it('waits while the server restarts, and emits one start and one end of each call', async () => {
    const { client, proxy } = await startBehindProxy();
    const events: GrpcClientEvent['type'][] = [];
    client.events$.subscribe(({ type }) => events.push(type));
    const stub = stubOn(client);
    await stub.unary({});
    proxy.refuse();
    proxy.resetAll();
    await waitFor(() => client.connectivity.state !== 'READY');
    const waiting = stub.unsafeUnary({ text: 'tea' });
    await waitFor(() => client.snapshot().waiting === 1);
    await proxy.forward();
    expect(await waiting).toMatchObject({ text: 'tea' });
    expect(events.filter((type) => type === 'call-start')).toHaveLength(2);
    expect(events.filter((type) => type === 'call-end')).toHaveLength(2);
  });

  it('cancels a call on the server', async () => {
    const server = await startServer();
    const stub = stubOn(await startClient({ url: server.url }));
    server.script('UnsafeUnary', { never: true });
    const cancelled = new AbortController();
    const call = stub.unsafeUnary({}, cancelled.signal);
    await waitFor(() => server.counts('UnsafeUnary').open === 1);
    cancelled.abort();
    await expect(call).rejects.toThrow(/cancel|abort/i);
    await waitFor(() => server.counts().open === 0);
  });

  it('never resends a call of a method that no contract declares, once bytes of it were sent', async () => {
    const server = await startServer();
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const stub = stubOn(await startClient({ ...ORDERS, url: proxy.url }));
    expect(await stub.unary({ text: 'tea' })).toMatchObject({ text: 'tea' });
    server.script('Unary', [{ never: true }, { message: {} }]);
    const call = stub.unary({});
    await waitFor(() => server.counts('Unary').open === 1);
    proxy.resetAll();
    await expect(call).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(server.counts('Unary').calls).toBe(2);
  });
});

it('keeps the channel of a client open when a stub is closed, and ends its calls with the client', async () => {
  const server = await startServer();
  const client = await startClient({ url: server.url });
  const [first, second] = [plainClient(client), plainClient(client)];
  first.close();
  expect(await answer((done) => second.unary({ text: 'tea' }, done))).toMatchObject({ text: 'tea' });
  await client.close();
  await expect(answer((done) => second.unary({}, done))).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    reason: 'closed',
  });
});
