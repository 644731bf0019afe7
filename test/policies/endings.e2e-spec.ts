import { constants } from 'node:http2';
import { Client, Metadata, credentials, status } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  callOnce,
  failureOf,
  quietTime,
  startClient,
  toList,
  turns,
  type ClientSettings,
  type EchoService,
} from '../calls/support.js';
import { FrameServer, KEY, keyed, type FrameRequest } from '../support/frame-server.js';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';
import {
  cancelled,
  cancelledBeforeGoaway,
  ENDINGS,
  ENDINGS_BEFORE_SENT,
  ENDINGS_TOGETHER,
  type Ending,
} from './endings.js';

/** Makes a unary call whose metadata contains `key`. Resolves to its error, or to `undefined` if it succeeds. */
type Write = (key: string) => Promise<unknown>;

async function resilient(
  url: string,
  settings: ClientSettings = {},
  method: 'unary' | 'unsafeUnary' = 'unsafeUnary',
): Promise<Write> {
  // The grace period is longer than any backoff, even on a busy machine.
  const client = await startClient({ url, outageGraceMs: 600_000, ...settings });
  const echo = client.getService<EchoService>('Echo');
  return (key) =>
    firstValueFrom(echo[method]({}, { metadata: keyed(key) })).then(toUndefined, (error: unknown) => error);
}

/** Creates a `Write` that makes calls with grpc-js's own client on the channel of this library's client. */
async function callbacks(url: string): Promise<Write> {
  const client = await startClient({ url, outageGraceMs: 600_000 });
  return writeOf(client.getClientByServiceName<Client>('Echo'));
}

function grpcJs(url: string): Write {
  const client = new Client(url, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  onTestFinished(() => client.close());
  return writeOf(client);
}

const ECHO = loadSync(ECHO_PROTO)['testing.v1.Echo'] as ServiceDefinition;
// The cast is safe because the service has this method.
const { path, requestSerialize, responseDeserialize } = ECHO['UnsafeUnary'] as MethodDefinition<EchoRequest, Echo>;

function writeOf(client: Client): Write {
  return (key) =>
    new Promise((resolve) => {
      const metadata = new Metadata();
      metadata.set(KEY, keyed(key)[KEY]!);
      const options = { deadline: Date.now() + 60_000 };
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, metadata, options, (error) => {
        resolve(error ?? undefined);
      });
    });
}

const toUndefined = (): undefined => undefined;

/** Makes a write, which the server ends, between two calls that succeed. Resolves to the error of the write. */
async function errorOf(server: FrameServer, write: Write): Promise<unknown> {
  await write('before');
  const error = await write('write');
  // Makes this call last, because any resent request of the write arrives before it.
  await write('after');
  return error;
}

/**
 * Makes a write that waits while another request uses the only stream, then runs `action`. Expects the write to be sent once and to
 * succeed.
 */
async function writeInQueue(connect: (url: string) => Promise<Write>, action: Ending['action']): Promise<void> {
  const server = await FrameServer.start(
    (request) => {
      if (request.key !== 'other' || request.number > 1) request.connection.write(request.success());
    },
    { maxConcurrentStreams: 1 },
  );
  const write = await connect(server.url);
  await write('before');
  const other = write('other');
  const [holder] = await waitFor(() => server.requests('other').length === 1 && server.requests('other'));
  const result = write('write');
  await turns();
  // Waits until the client has read everything sent so far. The write must still be in the client's queue then.
  await holder!.connection.waitUntilRead();
  expect(server.requests('write')).toEqual([]);
  await action(holder!);
  expect(await result).toBeUndefined();
  expect(server.requests('write')).toHaveLength(1);
  holder!.connection.socket.destroy();
  await other;
}

const startServer = ({ action, times = Infinity }: Pick<Ending, 'action' | 'times'>) =>
  FrameServer.start((request) => {
    if (request.key === 'write' && request.number <= times) void action(request);
    else request.connection.write(request.success());
  });

const byEnding = <T extends { readonly ending: string }>(rows: readonly T[]) =>
  rows.map((row) => [row.ending, row] as const);

function outcomeOf(error: unknown): string {
  if (error === undefined) return 'OK';
  // The errors of grpc-js's own client on the library's channel have these properties, too.
  const { reason, reachedServer } = error as Partial<GrpcCallError>;
  return `${String(reason)}, ${String(reachedServer)}`;
}

describe('write', () => {
  describe.each([
    ['the client', resilient],
    ['the grpc-js client on the library channel', callbacks],
  ] as const)('of %s', (caller, connect) => {
    it.each(byEnding(ENDINGS))(
      `sends a write of ${caller} the expected number of times and reports the expected outcome if the server ends the write like this: %s`,
      async (_ending, row) => {
        const { outcome, sent = 1 } = row;
        const ours = await startServer(row);
        const error = await errorOf(ours, await connect(ours.url));
        const seen = { outcome: outcomeOf(error), sent: ours.requests('write').length };
        expect(seen, String(error)).toEqual({ outcome, sent });
        // A request that the application may have executed is sent once, even if plain grpc-js resends it.
        expect(ours.executable('write').length).toBeLessThanOrEqual(1);
        if (error !== undefined && seen.outcome.endsWith(', no')) expect(ours.executable('write')).toEqual([]);
      },
    );
  });

  it.each(byEnding(ENDINGS))(
    'sends a write of grpc-js on its own channel the expected number of times if the server ends the write like this: %s',
    async (_ending, row) => {
      const plain = await startServer(row);
      const error = await errorOf(plain, grpcJs(plain.url));
      expect(plain.requests('write'), String(error)).toHaveLength(row.sentByGrpcJs ?? 1);
    },
  );

  it.each(byEnding(ENDINGS_BEFORE_SENT))(
    'completes a write that waits for a stream, and sends it exactly once, after this event on the connection: %s',
    async (_ending, { action }) => {
      await writeInQueue(resilient, action);
    },
  );

  it.each(byEnding(ENDINGS_BEFORE_SENT))(
    'completes a write of the grpc-js client that waits for a stream of the library channel, and sends it exactly once, after this event on the connection: %s',
    async (_ending, { action }) => {
      await writeInQueue(callbacks, action);
    },
  );
});

describe("status CANCELLED with the message 'CANCELLED', for a method that is safe to repeat", () => {
  const startEcho = async (url: string) => {
    const client = await startClient({ url, outageGraceMs: 600_000 });
    return client.getService<EchoService>('Echo');
  };

  it.each(['unary', 'clientStream', 'serverStream', 'bidi'] as const)(
    'counts CANCELLED as a lost connection and retries the call if GOAWAY follows: %s',
    async (method) => {
      const server = await startServer({ action: cancelledBeforeGoaway, times: 1 });
      const echo = await startEcho(server.url);
      await toList(callOnce(echo, method, { idempotent: true, metadata: keyed('write') }));
      expect(server.requests('write')).toHaveLength(2);
      expect(server.connections).toHaveLength(2);
    },
  );

  it('fails a call that the server ends with status CANCELLED if no GOAWAY follows', async () => {
    const server = await startServer({ action: cancelled });
    const echo = await startEcho(server.url);
    const error = await failureOf(echo.unary({}, { metadata: keyed('write') }));
    expect(error).toMatchObject({ code: status.CANCELLED, reason: 'server', reachedServer: 'maybe' });
    expect(server.requests('write')).toHaveLength(1);
  });
});

/** Number of calls; larger than the number of tokens in the default budget. */
const TOGETHER = 40;

it.each(ENDINGS_TOGETHER)(
  'retries all reads lost with a connection even if they outnumber the tokens in the retry budget: %s',
  async (_ending, action) => {
    const held: FrameRequest[] = [];
    const server = await FrameServer.start((request) => {
      if (request.connection !== server.connections[0] || request.key === 'before')
        request.connection.write(request.success());
      else held.push(request);
    });
    const read = await resilient(server.url, {}, 'unary');
    await read('before');
    const results = Array.from({ length: TOGETHER }, (_, index) => read(`read${index}`));
    await waitFor(() => held.length === TOGETHER, { timeoutMs: 30_000 });
    await action(held);
    expect((await Promise.all(results)).filter((error) => error !== undefined)).toEqual([]);
  },
);

it('charges the retry budget at most one token for a lost connection whose calls fail one by one during a drain', async () => {
  const held: FrameRequest[] = [];
  const server = await FrameServer.start((request) => {
    if (request.connection !== server.connections[0] || request.key === 'before')
      request.connection.write(request.success());
    else held.push(request);
  });
  const client = await startClient({ url: server.url });
  const echo = client.getService<EchoService>('Echo');
  const read = (key: string) => firstValueFrom(echo.unary({}, { metadata: keyed(key) }));
  await read('before');
  const results = ['one', 'two', 'three', 'four'].map(read);
  await waitFor(() => held.length === 4);
  const [one, two, three, four] = held as [FrameRequest, FrameRequest, FrameRequest, FrameRequest];
  const { connection } = one;
  const ends = [
    one.status({ 'content-type': 'application/grpc', 'grpc-status': '14', 'grpc-message': 'Cancelling all calls' }),
    two.reset(constants.NGHTTP2_CANCEL),
    three.status({ 'content-type': 'application/grpc', 'grpc-status': '14', 'grpc-message': 'busy' }),
  ];
  connection.goaway(four.streamId);
  for (const end of ends) {
    connection.write(end);
    // Waits longer than the interval in which losses on an open connection count as one loss.
    await quietTime(300);
  }
  connection.socket.destroy();
  await Promise.all(results);
  // The successful calls and the elapsed time return less than one token.
  expect(client.snapshot().retryBudget.tokens).toBeGreaterThanOrEqual(9);
});
