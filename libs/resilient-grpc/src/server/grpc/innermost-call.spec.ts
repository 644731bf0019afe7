import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  FRAME,
  PREFACE,
  SETTING,
  frame,
  headers,
  numbers,
  reset,
  settings,
} from '../../../../../test/unit-support/frames.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import { inflate } from '../../transport/grpc/inflate.js';
import { MemoryBudget } from '../../transport/http2/memory-budget.js';
import { ServerConnection, type ServerOwner } from '../../transport/http2/server-connection.js';
import { InnermostCall } from './innermost-call.js';

const LIMIT = 4_194_304;
const REQUEST = {
  ':method': 'POST',
  ':scheme': 'http',
  ':path': '/a.B/C',
  te: 'trailers',
  'grpc-encoding': 'gzip',
  'grpc-timeout': '10S',
};
const ignore = (): void => undefined;
/** A size of requests that nothing else in the process has. Half of it stays, in one frame. */
const PLAIN_BYTES = 20_011;
const DIGESTS = Array.from({ length: 400 }, (_, n) => createHash('sha256').update(String(n)).digest('hex'));
const COMPRESSED = gzipSync(DIGESTS.join('').slice(0, PLAIN_BYTES));
const message = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([1]), numbers(bytes.length), bytes]);
const data = (bytes: Buffer, flags = 0): Buffer => frame(FRAME.data, flags, 1, message(bytes));

/** A connection whose client has begun a call of `type`, which reads its requests. */
async function make(type: 'unary' | 'bidi') {
  const clock = new VirtualClock();
  const memory = new MemoryBudget(128 * LIMIT);
  const received: string[] = [];
  const calls: InnermostCall[] = [];
  const entry = {
    ...{ path: '/a.B/C', type, func: ignore as never },
    serialize: (value: unknown) => Buffer.from(String(value)),
    deserialize: (bytes: Buffer) => bytes.length,
  };
  const callSettings = {
    ...{ clock, maxReceiveBytes: LIMIT, maxSendBytes: LIMIT, sendsMetrics: false, onCut: ignore },
    conversions: { onUnserializable: ignore, onUnreadable: ignore },
  };
  const owner: ServerOwner = {
    ...{ wake: ignore, settingsReceived: ignore, goawayReceived: ignore, ended: ignore, pause: ignore },
    request: (stream, block, isEnd) => {
      // Safe: the call uses no other member of its connection.
      const call = new InnermostCall(stream, block, isEnd, entry, { callEnded: ignore } as never, callSettings);
      calls.push(call);
      return call.begin(
        [],
        () => {
          call.start({
            onReceiveMetadata: ignore,
            onReceiveMessage: (value: unknown) => void received.push(`message ${String(value)}`),
            onReceiveHalfClose: () => void received.push('end'),
            onCancel: ignore,
          });
          call.startRead();
        },
        undefined,
      );
    },
  };
  const limits = {
    ...{ streamWindow: LIMIT, connectionWindow: LIMIT, maxHeaderListSize: 16_384, headerTableSize: 4_096 },
    ...{ maxConcurrentStreams: 100, minPingIntervalMs: 0 },
  };
  const connection = new ServerConnection(owner, limits, clock, memory);
  const send = (...bytes: Buffer[]): void => void connection.receive(Buffer.concat(bytes));
  send(PREFACE, settings([SETTING.initialWindowSize, 0]), headers(1, REQUEST));
  // The first request of a stream is read in a microtask.
  await Promise.resolve();
  return { clock, memory, connection, received, call: calls[0]!, send };
}
/** As many messages as are inflated at once, so that the next waits. The function that is returned waits for their end. */
function occupy(): () => Promise<void> {
  const others = [1, 2, 3, 4].map(() => inflate('gzip', gzipSync(Buffer.alloc(1_000_000)), 1_000_000));
  return async () => {
    await Promise.all(others.map(({ result }) => result));
    await inflate('gzip', gzipSync('last'), LIMIT).result;
  };
}
/** Returns how many requests of `PLAIN_BYTES` were inflated since the call. */
function countInflated(): () => number {
  const { mock } = vi.spyOn(Buffer, 'allocUnsafe');
  return () => mock.calls.filter(([bytes]) => bytes === PLAIN_BYTES + 1).length;
}

afterEach(() => vi.restoreAllMocks());

describe('a compressed request that waits to be inflated', () => {
  it.each<[string, 'unary' | 'bidi', (scene: Awaited<ReturnType<typeof make>>) => void]>([
    ['the client cancels the call', 'unary', ({ send }) => send(reset(1, 8))],
    ['the connection is lost', 'unary', ({ connection }) => connection.lost('gone', undefined)],
    ['the deadline passes', 'unary', ({ clock }) => clock.advance(10_000)],
    ['the server ends the call', 'bidi', ({ call }) => call.reset()],
  ])('is dropped and counts no more when %s', async (_when, type, end) => {
    const done = occupy();
    const inflated = countInflated();
    const scene = await make(type);
    scene.send(data(COMPRESSED));
    expect(scene.memory.usedBytes).toBeGreaterThan(COMPRESSED.length);
    end(scene);
    expect(scene.memory.usedBytes).toBe(0);
    await done();
    expect([inflated(), scene.received]).toEqual([0, []]);
  });

  it('is dropped and counts no more when the handler responds, although the client does not read the response', async () => {
    const done = occupy();
    const inflated = countInflated();
    const { call, memory, send, received } = await make('bidi');
    call.sendMessage('response', ignore);
    const before = memory.usedBytes;
    send(data(COMPRESSED));
    expect(memory.usedBytes).toBeGreaterThanOrEqual(before + COMPRESSED.length);
    call.sendStatus({ code: 0, details: 'OK', metadata: undefined });
    // The trailers wait, too.
    expect(memory.usedBytes - before).toBeLessThan(1_000);
    await done();
    expect([inflated(), received]).toEqual([0, []]);
  });

  it('is inflated, and counts as inflated, if the call goes on', async () => {
    const done = occupy();
    const inflated = countInflated();
    const { memory, send, received } = await make('unary');
    const before = memory.usedBytes;
    send(data(COMPRESSED));
    await done();
    expect([inflated(), memory.usedBytes - before]).toEqual([1, PLAIN_BYTES]);
    send(frame(FRAME.data, 1, 1, Buffer.alloc(0)));
    await new Promise(setImmediate);
    expect(received).toEqual([`message ${String(PLAIN_BYTES)}`, 'end']);
  });

  it('counts beside a request before it', async () => {
    const { memory, send } = await make('unary');
    const before = memory.usedBytes;
    send(data(COMPRESSED));
    await occupy()();
    const done = occupy();
    send(data(COMPRESSED));
    expect(memory.usedBytes - before).toBeGreaterThanOrEqual(PLAIN_BYTES + COMPRESSED.length);
    await done();
  });
});

it('counts a request that is being inflated until that is done, although the call has been answered', async () => {
  const { call, memory, send } = await make('bidi');
  call.sendMessage('response', ignore);
  const before = memory.usedBytes;
  send(data(COMPRESSED));
  call.sendStatus({ code: 0, details: 'OK', metadata: undefined });
  expect(memory.usedBytes - before).toBeGreaterThanOrEqual(COMPRESSED.length);
  await waitFor(() => memory.usedBytes - before < 1_000);
});
