import type { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { waitFor, type Reply } from 'nestjs-resilient-grpc/testing';
import type { MethodConfig, ServiceConfig } from 'nestjs-resilient-grpc';
import { failToRetry, reset, startHttp2Server, succeed, timeoutOf } from '../calls/raw-http2-server.js';
import { repeatUntil } from '../support/repeat-until.js';
import { grpcJs, type Contender, type Ended, type Running } from './contenders.js';

/** Options of a `waitFor` that only a test that hangs exceeds. */
export const HANG_LIMIT = { timeoutMs: 60_000 };
/** Longer than a test may run. */
const NEVER_MS = 120_000;

/** One client and the server it calls. */
export interface Scene {
  readonly server: ScriptedGrpcServer;
  readonly client: Contender;
  /** Records a duration of this library's client for `npm run promises`; does nothing for grpc-js. */
  record(figure: string, ms: number, atMost: number): void;
  /** A second client of the same kind, under a service config of its own. @defaultValue url the server's */
  another(serviceConfig: ServiceConfig, url?: string): Promise<Contender>;
}

/** A rule, what shows whether it is kept, and what was seen. */
export interface Rule {
  readonly rule: string;
  /** Where the rule is from. */
  readonly from: 'A6' | 'service config' | 'grpc-go' | 'ours';
  readonly config: ServiceConfig;
  /** What the server or the caller sees, in a few words. */
  observe(scene: Scene): Promise<string>;
  /** What is seen where the rule is kept: by this library always. */
  readonly right: string;
  /** What is seen of grpc-js, where that is something else. */
  readonly grpcJs?: string;
  /** True if `observe` records durations. */
  readonly timed?: boolean;
}

export const UNAVAILABLE: Reply = { status: 'UNAVAILABLE' };
const OK: Reply = { message: { number: 1 } };
const ALL = [{}];

type RetryPolicy = NonNullable<MethodConfig['retryPolicy']>;

function retrying(
  policy: Partial<RetryPolicy> = {},
  rest: Omit<ServiceConfig, 'methodConfig'> & { timeout?: string } = {},
): ServiceConfig {
  const retryPolicy = {
    maxAttempts: 3,
    initialBackoff: '0.02s',
    maxBackoff: '0.02s',
    backoffMultiplier: 1,
    retryableStatusCodes: ['UNAVAILABLE'],
    ...policy,
  };
  const { timeout, ...config } = rest;
  return { methodConfig: [{ name: ALL, retryPolicy, ...(timeout !== undefined && { timeout }) }], ...config };
}

const throttled = (maxTokens: number, tokenRatio: number, policy: Partial<RetryPolicy> = {}) =>
  retrying({ maxAttempts: 5, ...policy }, { retryThrottling: { maxTokens, tokenRatio } });

/** Attempts that each of `count` calls made, one after another. */
async function attemptsOf({ server, client }: Scene, count = 1, call = () => client.unary()): Promise<number[]> {
  const made: number[] = [];
  for (let i = 0; i < count; i++) {
    const before = server.counts().calls;
    await call().ended;
    made.push(server.counts().calls - before);
  }
  return made;
}

/** Characters of the largest request that fits the retry buffer of a call: 5 bytes frame a message, and 4 its text. */
const LARGEST_KEPT = (1 << 20) - 9;

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

/** What a round trip and a timer may add on a quiet machine. */
const LATE_MS = 90;
const isAtLeast = (ms: number | undefined, leastMs: number) => ms !== undefined && ms >= leastMs - 5;
const kept = (isKept: boolean) => (isKept ? 'yes' : 'no');

async function outcome({ client }: Scene, within?: number): Promise<Ended> {
  return client.unary(within).ended;
}

/** True if `call` ends when its client receives the server's answer: no backoff and no deadline passes first. */
async function endsAtOnce({ server, client }: Scene, call: Running): Promise<boolean> {
  let isOver = false;
  void call.ended.then(() => (isOver = true));
  await waitFor(() => server.counts('Unary').answered > 0, HANG_LIMIT);
  await arrived(client);
  return isOver;
}

/** Rules of gRFC A6 and of the service config, and those that were taken from elsewhere where it is silent. */
export const RULES: readonly Rule[] = [
  {
    rule: '`maxAttempts` counts the original attempt',
    from: 'A6',
    config: retrying({ maxAttempts: 3 }),
    observe: (scene) => (scene.server.script('Unary', UNAVAILABLE), attempts(scene)),
    right: '3 attempts',
  },
  {
    rule: '`maxAttempts` of more than 5 is 5',
    from: 'A6',
    config: retrying({ maxAttempts: 9 }),
    observe: (scene) => (scene.server.script('Unary', UNAVAILABLE), attempts(scene)),
    right: '5 attempts',
  },
  {
    rule: 'a code that is not listed is not retried',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { status: 'INTERNAL' }), attempts(scene)),
    right: '1 attempt',
  },
  {
    rule: 'codes are names in any case, or numbers',
    from: 'A6',
    config: retrying({ maxAttempts: 4, retryableStatusCodes: ['unavailable', 10] }),
    observe: (scene) => (scene.server.script('Unary', [UNAVAILABLE, { status: 'ABORTED' }, OK]), attempts(scene)),
    right: '3 attempts',
  },
  {
    rule: 'the backoff grows by its multiplier up to its maximum, ±20 %',
    from: 'A6',
    // Without the maximum the second backoff would be 100 s: longer than the deadline.
    config: retrying({ maxAttempts: 4, initialBackoff: '0.1s', backoffMultiplier: 1_000, maxBackoff: '0.2s' }),
    async observe(scene) {
      const { server, record } = scene;
      server.script('Unary', UNAVAILABLE);
      await outcome(scene);
      const [first, second, third, ...more] = gaps(server);
      record('first backoff of 100 ms ±20 %, ms', first!, 120 + LATE_MS);
      record('second backoff of 200 ms ±20 %, ms', second!, 240 + LATE_MS);
      record('third backoff of 200 ms ±20 %, ms', third!, 240 + LATE_MS);
      const isCapped = isAtLeast(first, 80) && isAtLeast(second, 160) && isAtLeast(third, 160) && more.length === 0;
      // The first backoff is not the maximum, or there would be no second attempt before the test ends.
      const slow = await scene.another(retrying({ initialBackoff: '0.1s', backoffMultiplier: 600, maxBackoff: '60s' }));
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
    rule: 'the server is told how many attempts there were before',
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
    rule: 'one deadline holds for all attempts',
    from: 'A6',
    config: retrying({ initialBackoff: '0.1s', maxBackoff: '0.1s' }),
    async observe({ another }) {
      const leftMs: number[] = [];
      const failing = await startHttp2Server((stream, _number, headers) => {
        leftMs.push(timeoutOf(headers));
        failToRetry(stream);
      });
      const client = await another(retrying({ initialBackoff: '0.1s', maxBackoff: '0.1s' }), failing.url);
      await client.unary().ended;
      // Each attempt has less time left than the one before, by the backoff between them.
      const spentMs = leftMs.slice(1).map((left, index) => leftMs[index]! - left);
      return kept(spentMs.length === 2 && spentMs.every((ms) => isAtLeast(ms, 80)));
    },
    right: 'yes',
  },
  {
    rule: 'a request of 1 MiB, with the 5 bytes that frame it, is retried',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', UNAVAILABLE), attempts(scene, LARGEST_KEPT)),
    right: '3 attempts',
  },
  {
    rule: 'a request that is larger than the retry buffer of a call is sent once',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', UNAVAILABLE), attempts(scene, LARGEST_KEPT + 1)),
    right: '1 attempt',
  },
  {
    rule: 'a server stream is retried until its first headers',
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
    rule: 'a message commits an attempt',
    from: 'A6',
    config: retrying(),
    async observe(scene) {
      scene.server.script('ServerStream', { ...UNAVAILABLE, messages: [{ number: 1 }] });
      return counted((await attemptsOf(scene, 1, () => scene.client.serverStream())).join());
    },
    right: '1 attempt',
  },
  {
    rule: 'nothing is sent after the caller has cancelled in a backoff',
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
    rule: 'nothing is sent after the deadline has passed in a backoff',
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
    rule: 'a backoff that would outlive the deadline is not begun: the failure is passed on at once',
    from: 'ours',
    config: retrying({ initialBackoff: '60s', maxBackoff: '60s' }),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      // Shorter than any backoff of 60 s ± 20 %.
      const call = scene.client.unary(40_000);
      if (await endsAtOnce(scene, call)) {
        const { status, ms } = await call.ended;
        scene.record('call that cannot be retried before its deadline fails after, ms', ms, 400);
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
    // Longer than the deadline: a call that waits for it does not succeed.
    config: retrying({ initialBackoff: '60s', maxBackoff: '60s' }),
    async observe(scene) {
      scene.server.script('Unary', [{ ...UNAVAILABLE, pushback: 0 }, { ...UNAVAILABLE, pushback: 300 }, OK]);
      const { status } = await outcome(scene);
      const [first, second] = gaps(scene.server);
      scene.record('retry after a pushback of 0 ms, ms', first!, LATE_MS);
      scene.record('retry after a pushback of 300 ms, ms', second!, 300 + LATE_MS);
      return kept(status === 'OK' && isAtLeast(second, 300));
    },
    right: 'yes',
    timed: true,
  },
  {
    rule: 'after a pushback the backoff begins afresh',
    from: 'A6',
    // The second backoff, where none begins afresh, is longer than the deadline.
    config: retrying({ maxAttempts: 4, initialBackoff: '0.1s', maxBackoff: '100s', backoffMultiplier: 1_000 }),
    async observe(scene) {
      scene.server.script('Unary', [UNAVAILABLE, { ...UNAVAILABLE, pushback: 0 }, UNAVAILABLE, OK]);
      const { status } = await outcome(scene);
      const [first, , third] = gaps(scene.server);
      scene.record('first backoff of 100 ms ±20 %, ms', first!, 120 + LATE_MS);
      scene.record('first backoff after a pushback, 100 ms ±20 %, ms', third!, 120 + LATE_MS);
      return kept(status === 'OK' && isAtLeast(first, 80) && isAtLeast(third, 80));
    },
    right: 'yes',
    timed: true,
  },
  {
    rule: 'a pushback leaves `maxAttempts` alone',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, pushback: 0 }), attempts(scene)),
    right: '3 attempts',
  },
  {
    rule: 'a pushback for a code that is not listed retries nothing',
    from: 'grpc-go',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { status: 'INTERNAL', pushback: 0 }), attempts(scene)),
    right: '1 attempt',
  },
  {
    rule: 'a negative pushback stops retrying',
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, pushback: -1 }), attempts(scene)),
    right: '1 attempt',
  },
  ...['soon', '10ms', '1.5'].map((pushback): Rule => ({
    rule: `a pushback that is no integer (\`${pushback}\`) stops retrying`,
    from: 'A6',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, pushback }), attempts(scene)),
    right: '1 attempt',
    grpcJs: '3 attempts',
  })),
  {
    rule: 'two pushbacks in one answer stop retrying',
    from: 'grpc-go',
    config: retrying(),
    observe: (scene) => (scene.server.script('Unary', { ...UNAVAILABLE, pushback: [0, 0] }), attempts(scene)),
    right: '1 attempt',
    grpcJs: '3 attempts',
  },
  {
    rule: 'a failure costs a token, and there are retries while more than half are left',
    from: 'A6',
    config: throttled(4, 0.1),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      return (await attemptsOf(scene, 3)).join(', ');
    },
    right: '2, 1, 1',
  },
  {
    rule: 'a success gives `tokenRatio` back',
    from: 'A6',
    config: throttled(4, 1),
    async observe(scene) {
      scene.server.script('Unary', [UNAVAILABLE, UNAVAILABLE, OK, OK, UNAVAILABLE]);
      return (await attemptsOf(scene, 4)).join(', ');
    },
    right: '2, 1, 1, 2',
  },
  {
    rule: 'a code that is not listed neither costs nor gives back',
    from: 'A6',
    config: throttled(4, 1),
    async observe(scene) {
      const fatal: Reply[] = Array.from({ length: 5 }, () => ({ status: 'INVALID_ARGUMENT' }));
      scene.server.script('Unary', [...fatal, UNAVAILABLE]);
      return (await attemptsOf(scene, 6)).at(-1)!.toString();
    },
    right: '2',
  },
  {
    rule: 'the last failure of a call whose attempts are used up costs a token too',
    from: 'grpc-go',
    config: throttled(10, 0.1, { maxAttempts: 2 }),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      return (await attemptsOf(scene, 3)).join(', ');
    },
    right: '2, 2, 1',
  },
  {
    rule: 'a negative pushback costs a token, for a listed code',
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
    rule: 'a negative pushback costs a token, for any other code too',
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
    rule: 'a retry that is refused by the throttle returns at once',
    from: 'A6',
    config: throttled(2, 0.1, { initialBackoff: '60s', maxBackoff: '60s' }),
    async observe(scene) {
      scene.server.script('Unary', UNAVAILABLE);
      const call = scene.client.unary(NEVER_MS);
      if (await endsAtOnce(scene, call)) {
        scene.record('retry that the throttle refuses returns after, ms', (await call.ended).ms, 300);
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
    rule: 'the throttle of a channel is not taken away by another one to the same target',
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
    rule: '`timeout: "0.5s"` is half a second',
    from: 'service config',
    config: {},
    observe: (scene) => remaining(scene, '0.5s'),
    right: 'OK, 500 ms',
    grpcJs: 'DEADLINE_EXCEEDED',
  },
  {
    rule: '`timeout: "1.5s"` is one and a half seconds',
    from: 'service config',
    config: {},
    observe: (scene) => remaining(scene, '1.5s'),
    right: 'OK, 1500 ms',
    grpcJs: 'OK, 1000 ms',
  },
  {
    rule: '`waitForReady: true` waits for a server that is not there yet',
    from: 'service config',
    config: { methodConfig: [{ name: ALL, waitForReady: true }] },
    async observe({ server, client }) {
      server.script('Unary', OK);
      await server.stop('force');
      const call = client.unary();
      // By then a call that does not wait has failed: another one that began later has.
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
    rule: 'a call that is cancelled in the tick it began does not run on at the server',
    from: 'ours',
    config: {},
    async observe({ server, client }) {
      server.script('Unary', [OK, { hold: 'everything' }]);
      await client.unary().ended;
      client.unary().cancel();
      await arrived(client);
      return server.release() === 0 ? 'ended' : 'runs on';
    },
    right: 'ended',
    grpcJs: 'runs on',
  },
  {
    rule: 'a stream that is reset with REFUSED_STREAM is sent again only if its method is safe to repeat: a proxy may have processed it',
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
    rule: 'a call that is cut off by a server’s forced stop counts as UNAVAILABLE, and is retried',
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

/** The deadline that the client sends, to the next 100 ms: the longest of many calls, as a busy machine sends some of them late. */
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

/** Resolves once the server has received all that `client` sent before: calls on one connection arrive in order. */
export async function arrived(client: Contender): Promise<void> {
  for (let i = 0; i < 2; i++) await client.serverStream().ended;
}

/** A length of time in which something would have happened that must not. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
