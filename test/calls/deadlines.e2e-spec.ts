import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { GrpcConfigurationError } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { NEVER, concat, firstValueFrom, retry, timer } from 'rxjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { repeatUntil } from '../support/repeat-until.js';
import {
  EACH_METHOD,
  callOnce,
  failureOf,
  failureOnceSeen,
  protoName,
  scene,
  startBehindProxy,
  toList,
  turns,
} from './support.js';

/** Tolerance in milliseconds for the rounding of times, on the wire and in timers. */
const ROUNDING_MS = 3;

/** Properties of the error of a call with invalid options. */
const INVALID_OPTIONS = {
  code: 13,
  reason: 'not-sent',
  reachedServer: 'no',
  notRetriedBecause: 'local',
  attempts: [],
  cause: expect.any(GrpcConfigurationError),
};

interface Seen {
  /** Deadline that the server received, in milliseconds since 1970. */
  readonly deadline: number;
  /** Time at which the script ran, in milliseconds since 1970. */
  readonly at: number;
}

const seenNow = ({ deadline }: { readonly deadline: number }): Seen => ({ deadline, at: Date.now() });

/** Expects a deadline `ms` after the start of a call that started after `beganAt`. The bounds also hold on a busy machine. */
function expectTimeout(seen: Seen | undefined, ms: number, beganAt: number): void {
  expect(seen?.deadline).toBeGreaterThanOrEqual(beganAt + ms - ROUNDING_MS);
  expect(seen?.deadline).toBeLessThanOrEqual(seen!.at + ms + ROUNDING_MS);
}

/** Connects a client to a server through a proxy that can hold the server's responses. */
async function connectedScene() {
  const parts = await startBehindProxy();
  await parts.client.waitForReady();
  return parts;
}

describe('timeoutMs', () => {
  it.each([
    ['reports an open request stream', 'whose requests have not ended', concat([{}], NEVER), true],
    ['reports no open request stream', 'whose requests have ended', [{}], false],
  ])('%s in the deadline error of an upload %s', async (_, __, requests, isOpen) => {
    const { server, proxy, echo } = await connectedScene();
    server.script('ClientStream', { never: true });
    // The proxy holds the responses, because the server's own DEADLINE_EXCEEDED might arrive first.
    proxy.holdBytes('to-client');
    const { message, reason } = await failureOf(echo.clientStream(requests, { timeoutMs: 500 }));
    proxy.releaseBytes();
    expect(reason).toBe('deadline');
    expect(message.includes('the request stream has not ended: complete it if the server waits for its end')).toBe(
      isOpen,
    );
  });

  it('restarts timeoutMs at each subscription, so that each call that retry() makes has the full duration', async () => {
    const { echo, server } = await scene();
    const seen: Seen[] = [];
    server.script('UnsafeUnary', (call) => {
      seen.push(seenNow(call));
      return call.number < 3 ? { never: true } : { message: { number: call.number } };
    });
    const beganAt = Date.now();
    // On a busy machine, a call may time out before it is sent or answered, so retry() may make more than three calls.
    const call = echo.unsafeUnary({}, { timeoutMs: 300 }).pipe(retry({ count: 30, delay: () => timer(100) }));
    const answer = await firstValueFrom(call);
    expect(answer.number).toBeGreaterThanOrEqual(3);
    expect(seen).toHaveLength(answer.number);
    // Each call starts after the previous call's timeout and the delay.
    for (const [index, one] of seen.entries()) expectTimeout(one, 300, beganAt + index * 400);
  });

  it('applies the smaller of the method and call timeouts, and does not apply timeoutMs of the client to response streams', async () => {
    const { echo, server } = await scene({ timeoutMs: 60_000, methods: { UnsafeUnary: { timeoutMs: 40_000 } } });
    const seen: Record<string, Seen> = {};
    for (const method of EACH_METHOD) {
      server.script(protoName(method), (call) => {
        seen[method] = seenNow(call);
        return {};
      });
    }
    let beganAt = Date.now();
    for (const method of EACH_METHOD) await toList(callOnce(echo, method));
    expectTimeout(seen.unary, 60_000, beganAt);
    expectTimeout(seen.clientStream, 60_000, beganAt);
    expectTimeout(seen.unsafeUnary, 40_000, beganAt);
    expect(seen).toMatchObject({ serverStream: { deadline: Infinity }, bidi: { deadline: Infinity } });
    beganAt = Date.now();
    await firstValueFrom(echo.unsafeUnary({}, { timeoutMs: 20_000 }));
    expectTimeout(seen.unsafeUnary, 20_000, beganAt);
    beganAt = Date.now();
    await firstValueFrom(echo.unsafeUnary({}, { timeoutMs: 90_000, deadline: Date.now() + 80_000 }));
    expectTimeout(seen.unsafeUnary, 40_000, beganAt);
  });
});

describe.each(EACH_METHOD)('deadline of a %s call', (method) => {
  it.each([
    ['timeoutMs', () => ({ timeoutMs: 27_000 })],
    ['a Date', () => ({ deadline: new Date(Date.now() + 27_000) })],
    ['a number', () => ({ deadline: Date.now() + 27_000 })],
  ])('sends a deadline given as %s to the server', async (_as, options) => {
    const { echo, server } = await scene();
    let seen: Seen | undefined;
    server.script(protoName(method), (call) => {
      seen = seenNow(call);
      return {};
    });
    const beganAt = Date.now();
    await toList(callOnce(echo, method, options()));
    expectTimeout(seen, 27_000, beganAt);
  });

  it('ends a call on the client and on the server at its deadline', async () => {
    const { echo, server } = await scene({}, { scripts: { [protoName(method)]: { never: true } } });
    const beganAt = performance.now();
    const { error, calls } = await failureOnceSeen(server, () => callOnce(echo, method, { timeoutMs: 150 }));
    expect(performance.now() - beganAt).toBeGreaterThanOrEqual(150 - ROUNDING_MS);
    expect(error).toMatchObject({ code: 4, reason: 'deadline', notRetriedBecause: 'deadline' });
    // The server also enforces the deadline, and its status sometimes arrives first.
    const isFromServer = error.message === '4 DEADLINE_EXCEEDED: Deadline exceeded';
    if (!isFromServer) expect(error.message).toMatch(/^4 DEADLINE_EXCEEDED: Deadline exceeded after 0\.\d+s/);
    expect(error.reachedServer).toBe('maybe');
    await waitFor(() => server.counts().cancelled === server.counts().calls);
    expect(server.counts().calls).toBeLessThanOrEqual(calls);
  });

  it('does not send a call whose deadline has passed', async () => {
    const { echo, server, client } = await scene();
    await client.waitForReady();
    for (const deadline of [Date.now() - 1, new Date(Date.now() - 60_000)]) {
      const error = await failureOf(callOnce(echo, method, { deadline }));
      expect(error).toMatchObject({ code: 4, reason: 'deadline', reachedServer: 'no' });
    }
    await turns();
    expect(server.counts().calls).toBe(0);
  });

  it.each([
    ['deadline: NaN', { deadline: NaN }, 'deadline', 'timeoutMs: 500'],
    ['a duration as the deadline', { deadline: 500 }, 'deadline', 'timeoutMs: 500'],
    ['timeoutMs: NaN', { timeoutMs: NaN }, 'timeoutMs', 'got NaN'],
  ])('rejects %s with an error that contains the remedy', async (_what, options, key, remedy) => {
    const { echo, server, client } = await scene();
    await client.waitForReady();
    const error = await failureOf(callOnce(echo, method, options));
    expect(error).toMatchObject(INVALID_OPTIONS);
    const [problem] = (error.cause as GrpcConfigurationError).problems;
    expect(problem?.path).toBe(`echo/testing.v1.Echo/${protoName(method)}: options.${key}`);
    expect(problem?.message).toMatch(/^expected .*, got /);
    expect(problem?.message).toContain(remedy);
    await turns();
    expect(server.counts().calls).toBe(0);
    expect(client.activeCalls()).toEqual([]);
  });
});

describe('wrong call options', () => {
  it('lists the problems of several wrong call options on one line of the error', async () => {
    const { echo, client } = await scene();
    await client.waitForReady();
    const options = { timeout: 1, idempotent: 0 as never, deadline: 500, metadata: { 'x tenant': 'shop' } };
    const error = await failureOf(callOnce(echo, 'unary', options));
    expect(error).toMatchObject(INVALID_OPTIONS);
    const path = 'echo/testing.v1.Echo/Unary: options';
    expect(error.message).toBe(
      `13 INTERNAL: The call could not be prepared: ${path}.timeout: unknown option; did you mean 'timeoutMs'?; ` +
        `${path}.idempotent: expected boolean, got 0; ` +
        `${path}.deadline: expected a Date or milliseconds since 1970, got 500, which is a duration or a time far in the past; ` +
        'write timeoutMs: 500; ' +
        `${path}.metadata["x tenant"]: expected a key of letters, digits, "_", ".", and "-"`,
    );
    expect((error.cause as GrpcConfigurationError).problems).toHaveLength(4);
  });

  it('lists the first 10 wrong call options in the error message', async () => {
    const { echo } = await scene();
    const wrong = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`key${String(index)}`, 1]));
    const { message } = await failureOf(callOnce(echo, 'unary', wrong));
    expect(message.match(/unknown option/g)).toHaveLength(10);
  });
});

describe('distant deadline', () => {
  it.each([
    ['Infinity', Infinity],
    ['40 days from now', Date.now() + 40 * 86_400_000],
    // Each of the following deadlines would end the process if it reached grpc-js.
    ['the last possible Date', new Date(8.64e15)],
    ['a time in microseconds', Date.now() * 1_000],
    ['Number.MAX_VALUE', Number.MAX_VALUE],
  ])('completes a call whose deadline is %s', async (_what, deadline) => {
    const { echo, client } = await scene();
    await client.waitForReady();
    expect(await firstValueFrom(echo.unary({ text: 'tea' }, { deadline }))).toMatchObject({ text: 'tea' });
  });

  it('completes a call with a very long timeoutMs in the call or the settings', async () => {
    const { echo, client } = await scene({ timeoutMs: Number.MAX_SAFE_INTEGER });
    await client.waitForReady();
    expect(await firstValueFrom(echo.unary({ text: 'tea' }))).toMatchObject({ text: 'tea' });
    expect(await firstValueFrom(echo.unary({ text: 'tea' }, { timeoutMs: 1e20 }))).toMatchObject({ text: 'tea' });
  });
});

describe('deadline of a waiting call', () => {
  it.each(EACH_METHOD)(
    'ends a waiting %s call at its deadline with an error that names the cause of the wait',
    async (method) => {
      const { echo, server, client } = await scene();
      await server.stop('kill-connections');
      // This call starts a connection attempt that fails before the deadline of the call below.
      const other = echo.unary({}).subscribe();
      await waitFor(() => client.connectivity.outage !== undefined);
      const error = await failureOf(callOnce(echo, method, { timeoutMs: 50 }));
      other.unsubscribe();
      expect(error).toMatchObject({ code: 4, reason: 'deadline', reachedServer: 'no', attempts: [] });
      expect(error.details).toMatch(/waiting: 127\.0\.0\.1:\d+ is \w+ \(127\.0\.0\.1:\d+ refused the connection/);
    },
  );
});

describe('call timeout that is longer than the timeout of the client', () => {
  it('names the timeout that has passed, the one that has no effect, and what successful calls took', async () => {
    const { echo, server } = await scene({ timeoutMs: 100 });
    await repeatUntil('a success', () => firstValueFrom(echo.unary({ text: 'x' })).catch(() => undefined));
    server.script('Unary', { never: true });
    const longer = await failureOf(callOnce(echo, 'unary', { timeoutMs: 60_000 }));
    expect(longer.reason).toBe('deadline');
    expect(longer.message).toMatch(
      /\(timeoutMs 100 of the client or its defaults, which is shorter than the call's 60000; successful calls lately took [\d.]+ ms \(median\) to [\d.]+ ms \(p99\)/,
    );
    const shorter = await failureOf(callOnce(echo, 'unary', { timeoutMs: 90 }));
    expect(shorter.message).toContain('(timeoutMs 90 of the call; ');
  });
});

describe('deadline of a retried call', () => {
  it('reports the duration of a retried call and the start of its last attempt in the deadline error', async () => {
    const { server, proxy, echo } = await connectedScene();
    const delayMs = 150;
    server.script('Unary', ({ number }) => {
      if (number === 1) return { status: 'UNAVAILABLE', trailers: { 'grpc-retry-pushback-ms': String(delayMs) } };
      // The proxy holds the responses, because the server's own DEADLINE_EXCEEDED might arrive first.
      proxy.holdBytes('to-client');
      return { never: true };
    });
    // Gives a busy machine enough time to send the second attempt.
    const timeoutMs = 2_000;
    const error = await failureOf(callOnce(echo, 'unary', { timeoutMs }));
    proxy.releaseBytes();
    const [, tookMs, startMs] =
      /^Deadline exceeded after (.+?)s,previous attempts: 1,time to current attempt start: (.+?)s,/
        .exec(error.details)!
        .map((seconds) => Number(seconds) * 1_000);
    expect(tookMs).toBeGreaterThanOrEqual(timeoutMs - ROUNDING_MS);
    expect(startMs).toBeGreaterThanOrEqual(delayMs - ROUNDING_MS);
    expect(error.attempts).toHaveLength(2);
  });
});

describe('attempts of a call that is ended early', () => {
  it.each(EACH_METHOD)(
    'lists the running attempt in the error of a %s call that ends at its deadline, with and without interceptors',
    async (method) => {
      const passing: Interceptor = (options, next) => new InterceptingCall(next(options));
      const { echo, server, client } = await scene();
      for (const name of EACH_METHOD) server.script(protoName(name), { never: true });
      await client.waitForReady();
      for (const interceptors of [[], [passing]]) {
        const call = () => callOnce(echo, method, { timeoutMs: 100, interceptors });
        const { attempts } = (await failureOnceSeen(server, call)).error;
        expect(attempts).toMatchObject([{ number: 1, code: 4, details: expect.stringMatching(/^Deadline exceeded/) }]);
      }
    },
  );

  it.each(EACH_METHOD)('lists the running attempt in the error of a %s call that the caller aborts', async (method) => {
    const { echo, server } = await scene();
    server.script(protoName(method), { never: true });
    const abort = new AbortController();
    const failure = failureOf(callOnce(echo, method, { signal: abort.signal }));
    await waitFor(() => server.counts().open === 1);
    abort.abort();
    const { attempts, reason } = await failure;
    expect(reason).toBe('cancelled');
    expect(attempts).toMatchObject([{ number: 1, code: 1 }]);
  });
});

describe('call delayed by an interceptor', () => {
  /** Returns an interceptor that holds calls, and `open()`, which starts the held calls. */
  function createGate() {
    const starts: (() => void)[] = [];
    const interceptor: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start: (metadata, listener, start) => {
          starts.push(() => start(metadata, listener));
        },
      });
    return { interceptor, open: () => starts.splice(0).forEach((start) => start()) };
  }

  it.each(EACH_METHOD)(
    'ends a %s call at its deadline without sending it if an interceptor delays it until after the deadline',
    async (method) => {
      const { echo, server, client } = await scene();
      await client.waitForReady();
      const { interceptor, open } = createGate();
      const error = await failureOf(callOnce(echo, method, { timeoutMs: 100, interceptors: [interceptor] }));
      expect(error).toMatchObject({ code: 4, reason: 'deadline' });
      open();
      await turns();
      await firstValueFrom(echo.unary({ text: 'last' }));
      expect(server.counts().calls).toBe(1);
    },
  );

  it.each(EACH_METHOD)(
    'completes a %s call that an interceptor delays but starts before the deadline',
    async (method) => {
      const { echo, client } = await scene();
      await client.waitForReady();
      const { interceptor, open } = createGate();
      const answers = toList(callOnce(echo, method, { timeoutMs: 20_000, interceptors: [interceptor] }));
      await turns();
      open();
      expect(await answers).toHaveLength(method === 'serverStream' ? 0 : 1);
    },
  );

  it.each(EACH_METHOD)('ends a %s call on close() if an interceptor never starts it', async (method) => {
    const { echo, client } = await scene();
    await client.waitForReady();
    const never: Interceptor = (options, next) => new InterceptingCall(next(options), { start: () => undefined });
    const failure = failureOf(callOnce(echo, method, { interceptors: [never] }));
    await turns();
    await client.close();
    expect(await failure).toMatchObject({ code: 14, reason: 'closed' });
  });
});

describe('attempt whose deadline passes before it is sent', () => {
  const TIMEOUT_MS = 60_000;

  /** Moves the clock past the deadline without running timers, as after a blocked event loop. */
  const passDeadline = (): void => {
    const at = Date.now() + TIMEOUT_MS;
    vi.spyOn(Date, 'now').mockReturnValue(at);
  };
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const NOT_SENT = {
    code: 4,
    details: 'Deadline exceeded before the attempt was sent',
    reason: 'deadline',
    reachedServer: 'no',
    notRetriedBecause: 'deadline',
    attempts: [expect.objectContaining({ number: 1 })],
  };

  it.each(EACH_METHOD)(
    'does not send a %s call whose metadata function resolves after the deadline',
    async (method) => {
      let isLate = true;
      const { echo, server, client } = await scene({
        metadata: async () => {
          await Promise.resolve();
          if (isLate) passDeadline();
          return {};
        },
      });
      await client.waitForReady();
      expect(await failureOf(callOnce(echo, method, { timeoutMs: TIMEOUT_MS }))).toMatchObject(NOT_SENT);
      isLate = false;
      await firstValueFrom(echo.unary({ text: 'last' }));
      expect(server.counts().calls).toBe(1);
    },
  );

  it.each(EACH_METHOD)('does not send a %s call that an interceptor starts after the deadline', async (method) => {
    const { echo, server, client } = await scene();
    await client.waitForReady();
    const slow: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start: (metadata, listener, start) => {
          passDeadline();
          start(metadata, listener);
        },
      });
    const failure = failureOf(callOnce(echo, method, { timeoutMs: TIMEOUT_MS, interceptors: [slow] }));
    expect(await failure).toMatchObject(NOT_SENT);
    await firstValueFrom(echo.unary({ text: 'last' }));
    expect(server.counts().calls).toBe(1);
  });
});
