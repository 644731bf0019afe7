import { waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it } from 'vitest';
import { EACH_METHOD, callOnce, protoName, scene, standstill, turns } from './support.js';

const payload = Buffer.alloc(64 * 1024);
/** Far above what buffers on both sides hold of messages of this size, far below what a test gives. */
const MANY = 200;

/** Messages of 64 KiB without end, counted as they are taken. */
function endless() {
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

describe('a slow reader', () => {
  it('stops the server, and lets it go on by reading', async () => {
    const { echo, server } = await scene();
    const source = endless();
    server.script('ServerStream', { messages: source });
    const reader = echo.serverStream({})[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ number: 1 });
    const stalledAt = await standstill(() => source.taken);
    expect(stalledAt).toBeLessThan(MANY);
    for (let number = 2; number <= 2 * MANY; number++) {
      expect((await reader.next()).value).toMatchObject({ number });
    }
    expect(await standstill(() => source.taken)).toBeLessThan(3 * MANY);
    await reader.return?.();
    await waitFor(() => server.counts('ServerStream').cancelled === 1);
  });

  it('stops a session both ways, up to the source of its own requests', async () => {
    const { echo } = await scene();
    const source = endless();
    const reader = echo.bidi(source)[Symbol.asyncIterator]();
    await reader.next();
    const stalledAt = await standstill(() => source.taken);
    expect(stalledAt).toBeLessThan(MANY);
    for (let i = 0; i < MANY; i++) await reader.next();
    expect(source.taken).toBeGreaterThan(MANY);
    await reader.return?.();
    expect(source.ended).toBe(true);
  });
});

describe('a server that does not read', () => {
  it.each(['clientStream', 'bidi'] as const)('stops the source of requests of %s', async (method) => {
    const { echo, server } = await scene();
    server.script(protoName(method), { requests: 'leave', never: true });
    const source = endless();
    const subscription = echo[method](source).subscribe();
    await waitFor(() => source.taken > 0);
    expect(await standstill(() => source.taken)).toBeLessThan(MANY);
    subscription.unsubscribe();
    expect(source.ended).toBe(true);
  });
});

describe('an iterator', () => {
  it.each(EACH_METHOD)('of %s that is made and returned starts nothing', async (method) => {
    const { echo, server, client } = await scene();
    const reader = callOnce(echo, method)[Symbol.asyncIterator]();
    await turns();
    expect(client.activeCalls()).toEqual([]);
    await reader.return?.();
    expect(await reader.next()).toEqual({ done: true, value: undefined });
    await turns();
    expect(client.snapshot().counters.started).toBe(0);
    expect(server.counts().calls).toBe(0);
    expect(client.connectivity.state).toBe('IDLE');
  });

  it.each(['serverStream', 'bidi'] as const)(
    'of %s that is left by break cancels the call on the wire',
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

  it('that is left by an error of its reader cancels the call too', async () => {
    const { echo, server } = await scene();
    server.script('ServerStream', { messages: [{ number: 1 }], never: true });
    const read = async () => {
      for await (const _ of echo.serverStream({})) throw new Error('enough');
    };
    await expect(read()).rejects.toThrow('enough');
    await waitFor(() => server.counts().cancelled === 1);
  });

  it('answers several next() at once in order, and ends those left over', async () => {
    const { echo } = await scene();
    const reader = echo.serverStream({ number: 3 })[Symbol.asyncIterator]();
    const results = await Promise.all(Array.from({ length: 5 }, () => reader.next()));
    expect(results.map(({ done, value }) => (done === true ? 'end' : (value as { number: number }).number))).toEqual([
      1,
      2,
      3,
      'end',
      'end',
    ]);
  });

  it('tells a failure once, then is at its end', async () => {
    const { echo, server } = await scene();
    server.script('ServerStream', { status: 'ABORTED' });
    const reader = echo.serverStream({})[Symbol.asyncIterator]();
    await expect(reader.next()).rejects.toMatchObject({ code: 10 });
    expect(await reader.next()).toEqual({ done: true, value: undefined });
  });
});
