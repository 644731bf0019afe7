import { ClientGrpcProxy } from '@nestjs/microservices';
import type { GrpcObservable } from 'nestjs-resilient-grpc';
import { CursorRegressionError, ResumeError, resumable } from 'nestjs-resilient-grpc/operators';
import { FaultProxy, type ScriptedCall, waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, map, type Observable } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  failureOf,
  quietTime,
  rejection,
  settled,
  startBehindProxy,
  startServer,
  type EchoService,
} from '../calls/support.js';
import { ECHO_PROTO, type Echo } from '../testing/echo-client.js';
import { READERS } from './support.js';

const payload = Buffer.alloc(64 * 1024);
/** Options with a short backoff and the minimum `minHealthyMs` (0 counts as 1000), because these tests break connections many times. */
const QUICK = { minHealthyMs: 0, backoff: { initialBackoffMs: 10, maxBackoffMs: 50 } };

/** Yields, like an event log, up to `overlap` messages that were already delivered, then the messages numbered `from` + 1 to `to`. */
function* log(from: number, to: number, overlap = 0, filling: Buffer = Buffer.alloc(0)) {
  for (let number = Math.max(from - overlap, 0) + 1; number <= to; number++) yield { number, payload: filling };
}

const fromOf = (call: ScriptedCall): number => (call as ScriptedCall<Echo>).request.number;

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

function feed(echo: Pick<EchoService, 'serverStream'>, options = {}): GrpcObservable<Echo> {
  return resumable((from: number) => echo.serverStream({ number: from }), {
    cursor: (message) => message.number,
    seed: 0,
    ...QUICK,
    ...options,
  });
}

describe.each(Object.entries(READERS))('resumable stream, %s', (_how, read) => {
  it.each(['rst', 'fin'] as const)(
    'delivers each message of a resumable stream once while its connections are cut (%s)',
    async (cut) => {
      const { server, proxy, echo } = await startBehindProxy();
      const count = 5_000;
      server.script('ServerStream', (call) => ({ messages: log(fromOf(call), count, call.number % 7) }));
      proxy.closeAfterBytes(4 * 1024, 'to-client', cut, 6);
      const numbers = (await read(feed(echo))).map(({ number }) => number);
      expect(numbers).toEqual(upTo(count));
      expect(server.counts('ServerStream').calls).toBeGreaterThanOrEqual(7);
      expect(server.counts('ServerStream').answered).toBe(1);
    },
  );

  it('resumes a stream after a forced server stop and after lost connections', async () => {
    const { server, echo } = await startBehindProxy();
    const stops = ['force', 'kill-connections', 'force'] as const;
    // Each call delivers ten more messages. Each call except the last then stays silent until its server stops.
    server.script('ServerStream', (call) => {
      const from = fromOf(call);
      return call.number > stops.length
        ? { messages: log(from, from + 10) }
        : { messages: log(from, from + 10), never: true };
    });
    let seen = 0;
    const result = read(feed({ serverStream: (request) => echo.serverStream(request) }, { cursor: count }));
    function count(message: Echo): number {
      seen = message.number;
      return seen;
    }
    for (const [index, how] of stops.entries()) {
      await waitFor(() => seen === (index + 1) * 10);
      await server.stop(how);
      await server.restart();
    }
    expect((await result).map(({ number }) => number)).toEqual(upTo(40));
  });

  it("resumes a stream after a clean end if onComplete is 'resume', and completes it after an error if onError returns 'complete'", async () => {
    const { server, echo } = await startBehindProxy();
    server.script('ServerStream', (call) => {
      if (call.number > 3) return { status: 'OUT_OF_RANGE', details: 'compacted' };
      return { messages: log(fromOf(call), call.number * 5) };
    });
    const seen: number[] = [];
    const stream = feed(echo, {
      onComplete: 'resume',
      onError: (error: unknown, cursor: number) => {
        seen.push(cursor);
        expect(error).toMatchObject({ code: 11, details: 'compacted' });
        return 'complete';
      },
    });
    expect((await read(stream)).map(({ number }) => number)).toEqual(upTo(15));
    expect(seen).toEqual([15]);
  });

  it('fails a resumable stream on a non-resumable status and after repeated failures at one cursor', async () => {
    const { server, echo } = await startBehindProxy();
    server.script('ServerStream', { messages: () => log(0, 3), status: 'OUT_OF_RANGE' });
    expect(await failureOf(read(feed(echo)))).toMatchObject({ code: 11, reason: 'server' });
    expect(server.counts('ServerStream').calls).toBe(1);

    server.reset();
    server.script('ServerStream', (call) => ({ messages: log(fromOf(call), 3), status: 'INTERNAL', details: 'boom' }));
    const poison = await rejection(read(feed(echo)));
    expect(poison instanceof ResumeError).toBe(true);
    expect(poison).toMatchObject({ reason: 'poison', code: 13, cause: { reason: 'server', details: 'boom' } });
    expect(server.calls('ServerStream').map(({ requests }) => (requests[0] as Echo).number)).toEqual([0, 3, 3, 3, 3]);
  });

  it('fails a resumable stream with DATA_LOSS if the cursor decreases', async () => {
    const { server, echo } = await startBehindProxy();
    server.script('ServerStream', { messages: [{ number: 1 }, { number: 5 }, { number: 3 }], never: true });
    const error = await rejection(read(feed(echo)));
    expect(error instanceof CursorRegressionError).toBe(true);
    expect(error).toMatchObject({ code: 15, previous: 5, cursor: 3 });
    await waitFor(() => server.counts('ServerStream').cancelled === 1);
  });
});

describe('reader of a resumable stream', () => {
  it('makes the server stop sending and delays the next call while the reader of a resumable stream pauses', async () => {
    const { server, proxy, echo } = await startBehindProxy();
    let taken = 0;
    server.script('ServerStream', (call) => ({
      messages: (function* () {
        for (const message of log(fromOf(call), 1_000, 3, payload)) {
          taken += 1;
          yield message;
        }
      })(),
    }));
    const reader = feed(echo)[Symbol.asyncIterator]();
    let last = 0;
    const readTo = async (number: number): Promise<void> => {
      for (; last < number; last++) expect((await reader.next()).value).toMatchObject({ number: last + 1 });
    };
    for (const [target, breaks] of [
      [1, false],
      [100, true],
      [300, false],
      [500, true],
    ] as const) {
      await readTo(target);
      expect(await settled(() => taken)).toBeLessThan(target + 200);
      if (!breaks) continue;
      const calls = server.counts('ServerStream').calls;
      proxy.resetAll();
      await waitFor(() => server.counts('ServerStream').open === 0);
      // A stream that lost its call starts no new call while the reader pauses.
      await quietTime();
      expect(server.counts('ServerStream').calls).toBe(calls);
    }
    await readTo(1_000);
    expect((await reader.next()).done).toBe(true);
    expect(server.counts('ServerStream').calls).toBe(3);
  });

  it('cancels the call of a resumable stream on break or unsubscribe, and starts no new call', async () => {
    const { server, echo } = await startBehindProxy();
    server.script('ServerStream', (call) => ({ messages: log(fromOf(call), fromOf(call) + 5), never: true }));
    for await (const { number } of feed(echo)) if (number === 3) break;
    await waitFor(() => server.counts('ServerStream').cancelled === 1);

    const subscription = feed(echo).subscribe();
    await waitFor(() => server.counts('ServerStream').open === 1);
    subscription.unsubscribe();
    await waitFor(() => server.counts('ServerStream').cancelled === 2);
    await quietTime();
    expect(server.counts('ServerStream').calls).toBe(2);
  });

  it('fails a resumable stream with reason slow-reader if its factory pipes the call through an RxJS operator and the reader is too slow', async () => {
    const { server, echo } = await startBehindProxy();
    server.script('ServerStream', (call) => ({ messages: log(fromOf(call), 5_000) }));
    const stream = resumable((from: number) => echo.serverStream({ number: from }).pipe(map(({ number }) => number)), {
      cursor: (number) => number,
      seed: 0,
    });
    const reader = stream[Symbol.asyncIterator]();
    expect((await reader.next()).value).toBe(1);
    await waitFor(() => server.counts('ServerStream').open === 0);
    const seen = [1];
    const rest = async (): Promise<void> => {
      for (;;) {
        const result = await reader.next();
        if (result.done === true) return;
        seen.push(result.value);
      }
    };
    await expect(rest()).rejects.toMatchObject({ reason: 'slow-reader', code: 8 });
    expect(seen).toEqual(upTo(seen.length));
  });
});

describe("resumable stream of Nest's own client", () => {
  it("resumes a stream of Nest's own client after grpc-js reports lost connections", async () => {
    const server = await startServer();
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const nest = new ClientGrpcProxy({ url: proxy.url, package: 'testing.v1', protoPath: ECHO_PROTO });
    onTestFinished(() => {
      nest.close();
    });
    const echo = nest.getService<{ serverStream(request: { number: number }): Observable<Echo> }>('Echo');
    const ends = ['force', 'reset', 'kill-connections'];
    server.script('ServerStream', (call) => {
      const from = fromOf(call);
      return { messages: log(from, from + 4), never: call.number <= ends.length };
    });
    const codes: unknown[] = [];
    const seen: number[] = [];
    const stream = resumable((from: number) => echo.serverStream({ number: from }), {
      cursor: (message) => message.number,
      seed: 0,
      ...QUICK,
      onError: (error) => {
        codes.push((error as { code?: unknown }).code);
        return undefined;
      },
    });
    const result = lastValueFrom(stream.pipe(map(({ number }) => seen.push(number))));
    for (const [index, how] of ends.entries()) {
      await waitFor(() => seen.length === (index + 1) * 4);
      if (how === 'reset') {
        proxy.resetAll();
        continue;
      }
      await server.stop(how as 'force' | 'kill-connections');
      await server.restart();
    }
    expect(await result).toBe(16);
    expect(seen).toEqual(upTo(16));
    expect(codes.length).toBeGreaterThanOrEqual(3);
  });
});
