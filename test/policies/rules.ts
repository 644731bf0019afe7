import type { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { waitFor, type Reply } from 'nestjs-resilient-grpc/testing';
import type { ServiceConfig } from 'nestjs-resilient-grpc';
import { failRetryably, reset, startHttp2Server, succeed, timeoutOf } from '../calls/raw-http2-server.js';
import { retrying, type RetryPolicy } from '../calls/service-configs.js';
import { repeatUntil } from '../support/repeat-until.js';
import { grpcJs, type Contender, type Ended, type Running } from './contenders.js';

/** Options of `waitFor` with a limit that only a hanging test exceeds. */
export const HANG_LIMIT = { timeoutMs: 60_000 };
/** Time until a deadline in milliseconds. At least the timeout of a test, so that no deadline passes before the test ends. */
const NEVER_MS = 120_000;

/** One client and the server it calls. */
export interface Scene {
  readonly server: ScriptedGrpcServer;
  readonly client: Contender;
  /** Records a duration of this library's client for `npm run promises`; does nothing for grpc-js. */
  record(figure: string, ms: number, atMost: number): void;
  /** Creates a second client of the same kind, with another service config. `url` defaults to that of the server. */
  another(serviceConfig: ServiceConfig, url?: string): Promise<Contender>;
}

/** A rule, its observation, and the expected results of both clients. */
export interface Rule {
  readonly rule: string;
  /** Source of the rule. */
  readonly from: 'A6' | 'service config' | 'grpc-go' | 'ours';
  readonly config: ServiceConfig;
  /** Returns what the server or the caller observed, as a short string. */
  observe(scene: Scene): Promise<string>;
  /** Result of a client that follows the rule. This library always does. */
  readonly right: string;
  /** Result of grpc-js if it differs. */
  readonly grpcJs?: string;
  /** True if `observe` records durations. */
  readonly timed?: boolean;
}

export const UNAVAILABLE: Reply = { status: 'UNAVAILABLE' };
const OK: Reply = { message: { number: 1 } };
const ALL = [{}];

const throttled = (maxTokens: number, tokenRatio: number, policy: Partial<RetryPolicy> = {}) =>
  retrying({ maxAttempts: 5, ...policy }, { retryThrottling: { maxTokens, tokenRatio } });

/** Makes `count` sequential calls and returns the number of attempts of each. */
async function attemptsOf({ server, client }: Scene, count = 1, call = () => client.unary()): Promise<number[]> {
  const made: number[] = [];
  for (let i = 0; i < count; i++) {
    const before = server.counts().calls;
    await call().ended;
    made.push(server.counts().calls - before);
  }
  return made;
}

/**
 * Number of characters in the largest request that fits in the retry buffer of a call. The message header takes 5 more bytes, and the
 * header of the text field takes 4.
 */
const MAX_REPLAYABLE_CHARACTERS = (1 << 20) - 9;

const attempts = async (scene: Scene, characters = 0) => {
  const text = 'x'.repeat(characters);
  return counted((await attemptsOf(scene, 1, () => scene.client.unary(undefined, text))).join());
};
export const counted = (number: number | string) => (String(number) === '1' ? '1 attempt' : `${number} attempts`);

/** Milliseconds between the arrivals of attempts. */
function gaps(server: ScriptedGrpcServer): number[] {
  const times = server.calls().map(({ at }) => at);
  return times.slice(1).map((at, index) => at - times[index]!);
}

/** Maximum time that a round trip and a timer add on a quiet machine. */
const LATE_MS = 90;
const isAtLeast = (ms: number | undefined, minMs: number) => ms !== undefined && ms >= minMs - 5;
const kept = (isKept: boolean) => (isKept ? 'yes' : 'no');

async function outcome({ client }: Scene, timeoutMs?: number): Promise<Ended> {
  return client.unary(timeoutMs).ended;
}

/** True if `call` ends when its client receives the server's response, before any backoff ends or deadline passes. */
async function endsAtOnce({ server, client }: Scene, call: Running): Promise<boolean> {
  let isOver = false;
  void call.ended.then(() => (isOver = true));
  await waitFor(() => server.counts('Unary').answered > 0, HANG_LIMIT);
  await arrived(client);
  return isOver;
}

/** Rules of gRFC A6 and of the service config. Other sources provide the rules for cases that A6 does not cover. */
export const RULES: readonly Rule[] = [
  {
    rule: '`maxAttempts` includes the original attempt',
    from: 'A6',
    config: retrying({ maxAttempts: 3 }),
    observe: (scene) => (scene.server.script('Unary', UNAVAILABLE), attempts(scene)),
    right: '3 attempts',
  },
  {
    rule: 'a `maxAttempts` above 5 is treated as 5',
    from: 'A6',
    config: retrying({ maxAttempts: 9 }),
    observe: (scene) => (scene.server.script('Unary', UNAVAILABLE), attempts(scene)),
    right: '5 attempts',
  },
  {
    rule: 'an unlisted status code is not retried',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { status: 'INTERNAL' }), attempts(scene)),
    right: '1 attempt',
  },
  {
    rule: 'status codes are numbers or names, in upper or lower case',
    from: 'A6',
    config: retrying({ maxAttempts: 4, retryableStatusCodes: ['unavailable', 10] }),
    observe: (scene) => (scene.server.script('Unary', [UNAVAILABLE, { status: 'ABORTED' }, OK]), attempts(scene)),
    right: '3 attempts',
  },
  {
    rule: 'the backoff grows by its multiplier up to its maximum, ±20%',
    from: 'A6',
    // Without the maximum, the second backoff would be 100 s, which exceeds the deadline.
    config: retrying({ maxAttempts: 4, initialBackoff: '0.1s', backoffMultiplier: 1_000, maxBackoff: '0.2s' }),
    async observe(scene) {
      const { server, record } = scene;
      server.script('Unary', UNAVAILABLE);
      await outcome(scene);
      const [first, second, third, ...more] = gaps(server);
      record('first backoff of 100 ms ±20%, ms', first!, 120 + LATE_MS);
      record('second backoff of 200 ms ±20%, ms', second!, 240 + LATE_MS);
      record('third backoff of 200 ms ±20%, ms', third!, 240 + LATE_MS);
      const isCapped = isAtLeast(first, 80) && isAtLeast(second, 160) && isAtLeast(third, 160) && more.length === 0;
      // A second attempt before the test ends shows that the first backoff is not the maximum, which is at least 80 s with jitter.
      const policy = { initialBackoff: '0.1s', backoffMultiplier: 1_000, maxBackoff: '100s' };
      const slow = await scene.another(retrying(policy));
      const before = server.counts().calls;
      const call = slow.unary(NEVER_MS);
      await waitFor(() => server.counts().calls === before + 2, HANG_LIMIT);
      call.cancel();
      return kept(isCapped);
    },
    right: 'yes',
    timed: true,
  },
  {
    rule: 'a retry sends `grpc-previous-rpc-attempts`',
    from: 'A6',
    config: retrying(),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      await outcome(scene);
      return scene.server
        .calls()
        .map(({ metadata }) => metadata.get('grpc-previous-rpc-attempts').join() || 'absent')
        .join(', ');
    },
    right: 'absent, 1, 2',
  },
  {
    rule: 'one deadline applies to all attempts',
    from: 'A6',
    config: retrying({ initialBackoff: '0.1s', maxBackoff: '0.1s' }),
    async observe({ another }) {
      const leftMs: number[] = [];
      const failing = await startHttp2Server((stream, _number, headers) => {
        leftMs.push(timeoutOf(headers));
        failRetryably(stream);
      });
      const client = await another(retrying({ initialBackoff: '0.1s', maxBackoff: '0.1s' }), failing.url);
      await client.unary().ended;
      // The backoff between two attempts reduces the remaining time of the second attempt.
      const spentMs = leftMs.slice(1).map((left, index) => leftMs[index]! - left);
      return kept(spentMs.length === 2 && spentMs.every((ms) => isAtLeast(ms, 80)));
    },
    right: 'yes',
  },
  {
    rule: 'a request of 1 MiB, including its 5-byte header, is retried',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', UNAVAILABLE), attempts(scene, MAX_REPLAYABLE_CHARACTERS)),
    right: '3 attempts',
  },
  {
    rule: 'a request larger than the retry buffer of a call is sent once',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', UNAVAILABLE), attempts(scene, MAX_REPLAYABLE_CHARACTERS + 1)),
    right: '1 attempt',
  },
  {
    rule: 'a response stream is retried until its headers arrive',
    from: 'A6',
    config: retrying(),
    async observe({ server, client }) {
      server.script('ServerStream', [UNAVAILABLE, { messages: [{ number: 1 }] }]);
      const { status, messages } = await client.serverStream().ended;
      return `${status}, ${messages} message`;
    },
    right: 'OK, 1 message',
  },
  {
    rule: 'response headers commit an attempt',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, headers: true }), attempts(scene)),
    right: '1 attempt',
  },
  {
    rule: 'a response message commits an attempt',
    from: 'A6',
    config: retrying(),
    async observe(scene) {
      scene.server.script('ServerStream', { ...UNAVAILABLE, messages: [{ number: 1 }] });
      return counted((await attemptsOf(scene, 1, () => scene.client.serverStream())).join());
    },
    right: '1 attempt',
  },
  {
    rule: 'no attempt is sent after a cancel during the backoff',
    from: 'A6',
    config: retrying({ initialBackoff: '0.3s', maxBackoff: '0.3s' }),
    observe: ({ server, client }) =>
      repeatUntil('the caller cancels before the shortest backoff, 240 ms, ends', async () => {
        await arrived(client);
        server.reset();
        server.script('Unary', UNAVAILABLE);
        const beganAt = performance.now();
        const call = client.unary();
        await waitFor(() => server.counts('Unary').answered === 1, HANG_LIMIT);
        await arrived(client);
        call.cancel();
        if (performance.now() - beganAt >= 240) return undefined;
        await pause(400);
        return counted(server.counts('Unary').calls);
      }),
    right: '1 attempt',
  },
  {
    rule: 'no attempt is sent after the deadline passes during the backoff',
    from: 'A6',
    config: retrying({ initialBackoff: '0.4s', maxBackoff: '0.4s' }),
    async observe(scene) {
      const { server, client } = scene;
      server.script('Unary', UNAVAILABLE);
      await repeatUntil('the client sends the call before its deadline', async () => {
        await outcome(scene, 200);
        await arrived(client);
        return server.counts('Unary').calls > 0;
      });
      await pause(500);
      return counted(server.counts('Unary').calls);
    },
    right: '1 attempt',
  },
  {
    rule: 'a call fails at once if its backoff outlasts the deadline',
    from: 'ours',
    config: retrying({ initialBackoff: '60s', maxBackoff: '60s' }),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      // The deadline is shorter than any backoff of 60 s ± 20%.
      const call = scene.client.unary(40_000);
      if (await endsAtOnce(scene, call)) {
        const { status, ms } = await call.ended;
        scene.record('time until failure of a call that cannot be retried before its deadline, ms', ms, 400);
        return `${status}, at once`;
      }
      call.cancel();
      const { status, ms } = await outcome(scene, 200);
      return `${status}, ${isAtLeast(ms, 200) ? 'at the deadline' : 'before the deadline'}`;
    },
    right: 'UNAVAILABLE, at once',
    grpcJs: 'DEADLINE_EXCEEDED, at the deadline',
    timed: true,
  },
  {
    rule: 'pushback replaces the backoff',
    from: 'A6',
    // The backoff is longer than the deadline, so that a call that waits for the backoff does not succeed.
    config: retrying({ initialBackoff: '60s', maxBackoff: '60s' }),
    async observe(scene) {
      scene.server.script('Unary', [{ ...UNAVAILABLE, pushback: 0 }, { ...UNAVAILABLE, pushback: 300 }, OK]);
      const { status } = await outcome(scene);
      const [first, second] = gaps(scene.server);
      scene.record('time until the retry after a pushback of 0 ms, ms', first!, LATE_MS);
      scene.record('time until the retry after a pushback of 300 ms, ms', second!, 300 + LATE_MS);
      return kept(status === 'OK' && isAtLeast(second, 300));
    },
    right: 'yes',
    timed: true,
  },
  {
    rule: 'the backoff restarts at its initial value after a pushback',
    from: 'A6',
    // Without a restart, the second backoff is longer than the deadline.
    config: retrying({ maxAttempts: 4, initialBackoff: '0.1s', maxBackoff: '100s', backoffMultiplier: 1_000 }),
    async observe(scene) {
      scene.server.script('Unary', [UNAVAILABLE, { ...UNAVAILABLE, pushback: 0 }, UNAVAILABLE, OK]);
      const { status } = await outcome(scene);
      const [first, , third] = gaps(scene.server);
      scene.record('first backoff of 100 ms ±20%, ms', first!, 120 + LATE_MS);
      scene.record('first backoff after a pushback, 100 ms ±20%, ms', third!, 120 + LATE_MS);
      return kept(status === 'OK' && isAtLeast(first, 80) && isAtLeast(third, 80));
    },
    right: 'yes',
    timed: true,
  },
  {
    rule: 'a pushback does not change `maxAttempts`',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, pushback: 0 }), attempts(scene)),
    right: '3 attempts',
  },
  {
    rule: 'a pushback with an unlisted status code causes no retry',
    from: 'grpc-go',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { status: 'INTERNAL', pushback: 0 }), attempts(scene)),
    right: '1 attempt',
  },
  {
    rule: 'a negative pushback stops retries',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, pushback: -1 }), attempts(scene)),
    right: '1 attempt',
  },
  ...['soon', '10ms', '1.5'].map((pushback): Rule => ({
    rule: `a non-integer pushback (\`${pushback}\`) stops retries`,
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, pushback }), attempts(scene)),
    right: '1 attempt',
    grpcJs: '3 attempts',
  })),
  {
    rule: 'two pushback values in one response stop retries',
    from: 'grpc-go',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, pushback: [0, 0] }), attempts(scene)),
    right: '1 attempt',
    grpcJs: '3 attempts',
  },
  {
    rule: 'a failure costs a token; retries need more than half of the tokens',
    from: 'A6',
    config: throttled(4, 0.1),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      return (await attemptsOf(scene, 3)).join(', ');
    },
    right: '2, 1, 1',
  },
  {
    rule: 'a success returns `tokenRatio` tokens',
    from: 'A6',
    config: throttled(4, 1),
    async observe(scene) {
      scene.server.script('Unary', [UNAVAILABLE, UNAVAILABLE, OK, OK, UNAVAILABLE]);
      return (await attemptsOf(scene, 4)).join(', ');
    },
    right: '2, 1, 1, 2',
  },
  {
    rule: 'an unlisted status code neither costs nor returns tokens',
    from: 'A6',
    config: throttled(4, 1),
    async observe(scene) {
      const fatal: Reply[] = Array.from({ length: 5 }, () => ({ status: 'INVALID_ARGUMENT' }));
      // The first five fatal codes arrive while the bucket is full, to reveal whether they cost tokens. The last five arrive while it is
      // half full, to reveal whether they return tokens.
      scene.server.script('Unary', [...fatal, UNAVAILABLE, UNAVAILABLE, ...fatal, UNAVAILABLE]);
      const made = await attemptsOf(scene, 12);
      return `${made[5]}, ${made[11]}`;
    },
    right: '2, 1',
  },
  {
    rule: 'the failure of the last attempt costs a token, too',
    from: 'grpc-go',
    config: throttled(10, 0.1, { maxAttempts: 2 }),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      return (await attemptsOf(scene, 3)).join(', ');
    },
    right: '2, 2, 1',
  },
  {
    rule: 'a negative pushback with a listed code costs a token',
    from: 'A6',
    config: throttled(4, 0.1),
    async observe(scene) {
      const no: Reply = { ...UNAVAILABLE, pushback: -1 };
      scene.server.script('Unary', [no, no, UNAVAILABLE]);
      return (await attemptsOf(scene, 3)).join(', ');
    },
    right: '1, 1, 1',
  },
  {
    rule: 'a negative pushback with any other code costs a token, too',
    from: 'A6',
    config: throttled(4, 0.1),
    async observe(scene) {
      const no: Reply = { status: 'INTERNAL', pushback: -1 };
      scene.server.script('Unary', [no, no, UNAVAILABLE]);
      return (await attemptsOf(scene, 3)).join(', ');
    },
    right: '1, 1, 1',
    grpcJs: '1, 1, 2',
  },
  {
    rule: 'a throttled retry fails the call at once',
    from: 'A6',
    config: throttled(2, 0.1, { initialBackoff: '60s', maxBackoff: '60s' }),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      const call = scene.client.unary(NEVER_MS);
      if (await endsAtOnce(scene, call)) {
        scene.record('time until failure of a call whose retry is throttled, ms', (await call.ended).ms, 300);
        return 'at once';
      }
      call.cancel();
      const soon = await scene.another(throttled(2, 0.1, { initialBackoff: '0.2s', maxBackoff: '0.2s' }));
      return isAtLeast((await soon.unary().ended).ms, 160) ? 'after its backoff' : 'before its backoff';
    },
    right: 'at once',
    grpcJs: 'after its backoff',
    timed: true,
  },
  {
    rule: 'a second channel to a target does not reset the throttle',
    from: 'grpc-go',
    config: throttled(2, 0.1),
    async observe(scene) {
      const other = await scene.another({});
      scene.server.script('Unary', [UNAVAILABLE, OK, UNAVAILABLE]);
      await outcome(scene);
      await other.unary().ended;
      return counted((await attemptsOf(scene)).join());
    },
    right: '1 attempt',
    grpcJs: '5 attempts',
  },
  {
    rule: '`timeout: "0.5s"` is 500 ms',
    from: 'service config',
    config: {},
    observe: (scene) => remaining(scene, '0.5s'),
    right: 'OK, 500 ms',
    grpcJs: 'DEADLINE_EXCEEDED',
  },
  {
    rule: '`timeout: "1.5s"` is 1500 ms',
    from: 'service config',
    config: {},
    observe: (scene) => remaining(scene, '1.5s'),
    right: 'OK, 1500 ms',
    grpcJs: 'OK, 1000 ms',
  },
  {
    rule: '`waitForReady: true` waits for a server that is not running',
    from: 'service config',
    config: { methodConfig: [{ name: ALL, waitForReady: true }] },
    async observe({ server, client }) {
      server.script('Unary', OK);
      await server.stop('force');
      const call = client.unary();
      // This call starts after `call` and does not wait. If `call` is still pending after this call fails, `call` waits for the server.
      await (await grpcJs(server.url, {})).unary().ended;
      await pause(50);
      await server.restart();
      return (await call.ended).status;
    },
    right: 'OK',
    grpcJs: 'UNAVAILABLE',
  },
  {
    rule: 'a call whose deadline has passed is not sent',
    from: 'ours',
    config: {},
    async observe({ server, client }) {
      server.script('Unary', OK);
      await client.unary().ended;
      const { status } = await client.unary(-1_000).ended;
      await arrived(client);
      return `${status}, ${server.counts('Unary').calls === 1 ? 'not sent' : 'sent'}`;
    },
    right: 'DEADLINE_EXCEEDED, not sent',
    grpcJs: 'DEADLINE_EXCEEDED, sent',
  },
  {
    rule: 'a call cancelled in its first tick ends on the server, too',
    from: 'ours',
    config: {},
    async observe({ server, client }) {
      server.script('Unary', [OK, { hold: 'everything' }]);
      await client.unary().ended;
      client.unary().cancel();
      await arrived(client);
      return server.release() === 0 ? 'ended' : 'still running';
    },
    right: 'ended',
    grpcJs: 'still running',
  },
  {
    rule: 'REFUSED_STREAM is retried only if the method is safe to repeat',
    from: 'ours',
    config: {},
    async observe({ another }) {
      const refusing = await startHttp2Server((stream, number) => {
        if (number === 1) reset(stream, 'NGHTTP2_REFUSED_STREAM');
        else succeed(stream);
      });
      const client = await another({}, refusing.url);
      const { status } = await client.serverStream().ended;
      return `${status}, streams: ${refusing.streams.length}`;
    },
    right: 'UNAVAILABLE, streams: 1',
    grpcJs: 'OK, streams: 2',
  },
  {
    rule: 'calls ended by a forced server stop are retried and count as UNAVAILABLE',
    from: 'ours',
    config: retrying({ maxAttempts: 5, initialBackoff: '0.1s', maxBackoff: '0.1s' }),
    async observe({ server, client }) {
      server.script('Unary', [{ never: true }, OK]);
      const call = client.unary();
      await waitFor(() => server.counts().open === 1, HANG_LIMIT);
      await server.restart('force');
      return (await call.ended).status;
    },
    right: 'OK',
    grpcJs: 'CANCELLED',
  },
];

/**
 * Returns the timeout that the client sends, rounded up to a multiple of 100 ms, or the status of the first call if no call succeeds. The
 * timeout is the maximum of 20 calls, because a busy machine sends some of them late.
 */
async function remaining({ another }: Scene, timeout: string): Promise<string> {
  const server = await startHttp2Server((stream, _number, headers) => {
    leftMs.push(timeoutOf(headers));
    succeed(stream);
  });
  const leftMs: number[] = [];
  const client = await another({ methodConfig: [{ name: ALL, timeout }] }, server.url);
  const statuses: string[] = [];
  for (let i = 0; i < 20; i++) statuses.push((await client.unary().ended).status);
  return statuses.includes('OK') ? `OK, ${Math.ceil(Math.max(...leftMs) / 100) * 100} ms` : statuses[0]!;
}

/**
 * Resolves after the server has received all previous calls of `client`. Makes two more calls and waits until they end, because calls on
 * one connection cannot overtake each other.
 */
export async function arrived(client: Contender): Promise<void> {
  for (let i = 0; i < 2; i++) await client.serverStream().ended;
}

/** Waits for `ms` milliseconds, long enough to detect an event that must not happen. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
