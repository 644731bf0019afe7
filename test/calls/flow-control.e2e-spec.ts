import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it } from 'vitest';
import { callOnce, protoName, scene, settled, upTo } from './support.js';

const payload = Buffer.alloc(64 * 1024);
/** Number of 64 KiB messages, far more than the buffers on both sides hold. */
const MANY_MESSAGES = 200;

/** Returns an infinite source of 64 KiB messages that counts the messages taken from it. */
function createEndlessSource() {
  const source = {
    taken: 0,
    ended: false,
    *[Symbol.iterator]() {
      try {
        for (;;) yield { number: ++source.taken, payload };
      } finally {
        source.ended = true;
      }
    },
  };
  return source;
}

/** Forwards everything unchanged. */
const passing: Interceptor = (options, next) => new InterceptingCall(next(options));
const INTERCEPTED = [
  ['', {}],
  [" with grpc-js's interceptors", { channelOptions: { interceptors: [passing] } }],
  [' with an async interceptor of this library', { interceptors: [{ onAttempt: () => Promise.resolve() }] }],
] as const;

describe('slow reader', () => {
  it.each(INTERCEPTED)('stops a server stream%s while its reader pauses', async (_under, settings) => {
    const { echo, server } = await scene(settings);
    const source = createEndlessSource();
    server.script('ServerStream', { messages: source });
    const reader = echo.serverStream({})[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ number: 1 });
    const stalledAt = await settled(() => source.taken);
    expect(stalledAt).toBeLessThan(MANY_MESSAGES);
    for (let number = 2; number <= 2 * MANY_MESSAGES; number++) {
      expect((await reader.next()).value).toMatchObject({ number });
    }
    expect(await settled(() => source.taken)).toBeLessThan(3 * MANY_MESSAGES);
    await reader.return?.();
    await waitFor(() => server.counts('ServerStream').cancelled === 1);
  });

  it('stops a bidi call in both directions, including its request source, while its reader pauses', async () => {
    const { echo } = await scene();
    const source = createEndlessSource();
    const reader = echo.bidi(source)[Symbol.asyncIterator]();
    await reader.next();
    const stalledAt = await settled(() => source.taken);
    expect(stalledAt).toBeLessThan(MANY_MESSAGES);
    for (let i = 0; i < MANY_MESSAGES; i++) await reader.next();
    expect(source.taken).toBeGreaterThan(MANY_MESSAGES);
    await reader.return?.();
    expect(source.ended).toBe(true);
  });
});

describe('server that does not read', () => {
  const cases = INTERCEPTED.flatMap(([under, settings]) =>
    (['clientStream', 'bidi'] as const).map((method) => [method, under, settings] as const),
  );
  it.each(cases)(
    'stops the request source of a %s call%s if the server does not read',
    async (method, _under, settings) => {
      const { echo, server } = await scene(settings);
      server.script(protoName(method), { requests: 'leave', never: true });
      const source = createEndlessSource();
      const subscription = echo[method](source).subscribe();
      await waitFor(() => source.taken > 0);
      expect(await settled(() => source.taken)).toBeLessThan(MANY_MESSAGES);
      subscription.unsubscribe();
      expect(source.ended).toBe(true);
    },
  );
});

describe('prefetch', () => {
  /** Returns the number of messages that the client has buffered for a reader that has read one. */
  async function countReadAhead(options: { methods?: Record<string, { prefetch: number }> }) {
    const { echo, server, client } = await scene(options);
    server.script('ServerStream', { messages: upTo(200), never: true });
    const reader = echo.serverStream({})[Symbol.asyncIterator]();
    await reader.next();
    return settled(() => client.activeCalls()[0]!.received - 1);
  }

  it.each([
    ['16 messages of a stream by default', {}, 16],
    [
      'as many messages of a stream as the prefetch option of its method specifies',
      { methods: { ServerStream: { prefetch: 3 } } },
      3,
    ],
    ['one message of a stream with a prefetch of 1', { methods: { '*': { prefetch: 1 } } }, 1],
  ])('reads ahead %s', async (_what, options, ahead) => {
    expect(await countReadAhead(options)).toBe(ahead);
  });
});

describe('iterator', () => {
  it.each(['serverStream', 'bidi'] as const)(
    'cancels a %s call on the wire if its `for await` loop exits with `break`',
    async (method) => {
      const { echo, server, client } = await scene();
      server.script(protoName(method), {
        messages: [{ number: 1 }, { number: 2 }],
        never: true,
      });
      for await (const { number } of callOnce(echo, method)) {
        if (number === 2) break;
      }
      expect(client.activeCalls()).toEqual([]);
      await waitFor(() => server.counts().cancelled === 1);
    },
  );
});
