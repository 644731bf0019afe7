import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FailureReason } from '../../errors/grpc-call-error.js';
import { StatusCode, STATUS_NAMES, type StatusName } from '../../status/status-code.js';
import { NO_PUSHBACK, type Pushback } from '../pushback/parse-pushback.js';
import {
  decideResume,
  INITIAL_RESUME_STATE,
  type EndedCall,
  type ResumeState,
  DEFAULT_RESUME_POLICY,
  MAX_SERVER_FAILURES,
  MIN_LIFE_MS,
  type ResumePolicy,
  failureKind,
  reasonByText,
  type StreamFailure,
  compareNumbers,
  CursorTrack,
  MAX_OVERLAP,
} from './decide-resume.js';

function failure(
  reason: string | undefined,
  code: StatusName = 'UNAVAILABLE',
  change: Partial<StreamFailure> = {},
): StreamFailure {
  return { reason, code: StatusCode[code], pushback: NO_PUSHBACK, retryAfterMs: undefined, ...change };
}

const LOST = failure('connection-lost');
const INTERNAL = failure('server', 'INTERNAL');
/** The status with which a server ends an idle feed, or a feed on an aged connection. */
const QUIET = failure('server', 'UNAVAILABLE');
const MIDDLE = (): number => 0.5;

/** Creates a short call whose connection was lost without progress. */
function ended(change: Partial<EndedCall> = {}): EndedCall {
  return { failure: LOST, progressed: false, livedMs: 10, ...change };
}

function decide(call: EndedCall, before: ResumeState = INITIAL_RESUME_STATE, change: Partial<ResumePolicy> = {}) {
  return decideResume(before, call, { ...DEFAULT_RESUME_POLICY, ...change }, MIDDLE);
}

/** Applies `calls` in turn. For each call, returns the delay of the resume that follows, or the reason why no resume follows. */
function decideAll(calls: readonly EndedCall[], change: Partial<ResumePolicy> = {}) {
  let state = INITIAL_RESUME_STATE;
  return calls.map((call) => {
    const decision = decide(call, state, change);
    if (decision.action === 'resume') state = decision.state;
    if (decision.action === 'resume') return decision.delayMs;
    return decision.action === 'fail' ? decision.because : 'complete';
  });
}

describe('failure kind', () => {
  it.each([
    ['connection-lost', 'lost'],
    ['refused', 'lost'],
    ['outage', 'lost'],
    ['stream-idle', 'lost'],
    ['attempt-timeout', 'lost'],
    ['circuit-open', 'lost'],
    ['too-many-waiting', 'lost'],
    ['concurrency-limit', 'lost'],
    ['server', 'server'],
    ['deadline', 'ended-by-caller'],
    ['cancelled', 'ended-by-caller'],
    ['inbound-cancelled', 'ended-by-caller'],
    ['not-sent', 'local'],
    ['protocol', 'local'],
    ['draining', 'client-closing'],
    ['closed', 'client-closing'],
    ['a reason of a later version', 'local'],
    [undefined, 'no-status'],
  ] satisfies [FailureReason | undefined | (string & {}), string][])(
    'classifies a stream failure with reason %s as %s',
    (reason, kind) => {
      expect(failureKind(failure(reason))).toBe(kind);
      const decision = decide(ended({ failure: failure(reason) }));
      if (kind === 'lost' || kind === 'server') expect(decision).toMatchObject({ action: 'resume' });
      else expect(decision).toEqual({ action: 'fail', because: kind });
    },
  );

  it('classifies a stream failure by the status code if the server sent the status', () => {
    const resumed = STATUS_NAMES.filter((name) => failureKind(failure('server', name)) === 'server');
    expect(resumed).toEqual([
      'CANCELLED',
      'UNKNOWN',
      'DEADLINE_EXCEEDED',
      'RESOURCE_EXHAUSTED',
      'ABORTED',
      'INTERNAL',
      'UNAVAILABLE',
    ]);
    expect(decide(ended({ failure: failure('server', 'OUT_OF_RANGE') }))).toEqual({
      action: 'fail',
      because: 'final-status',
    });
  });

  it.each<[StatusName, string, FailureReason]>([
    ['UNAVAILABLE', 'Connection dropped', 'connection-lost'],
    ['UNAVAILABLE', 'read ECONNRESET', 'connection-lost'],
    ['UNAVAILABLE', 'No connection established. Last error: connect ECONNREFUSED', 'refused'],
    ['UNAVAILABLE', 'Stream refused by server', 'refused'],
    ['UNAVAILABLE', 'Channel closed before call started', 'closed'],
    ['UNAVAILABLE', 'come back later', 'server'],
    ['CANCELLED', 'Call cancelled', 'connection-lost'],
    ['CANCELLED', 'Cancelled on client', 'cancelled'],
    ['CANCELLED', 'by an operator', 'server'],
    ['INTERNAL', 'Received RST_STREAM with code 0 (Call ended without gRPC status)', 'connection-lost'],
    ['INTERNAL', 'Received RST_STREAM with code 2 (Internal server error)', 'connection-lost'],
    ['INTERNAL', 'Received RST_STREAM with code 1 (protocol)', 'server'],
    ['RESOURCE_EXHAUSTED', 'Bandwidth exhausted or memory limit exceeded', 'connection-lost'],
    ['RESOURCE_EXHAUSTED', 'quota', 'server'],
    ['DEADLINE_EXCEEDED', 'Deadline exceeded after 1.002s', 'deadline'],
    ['DEADLINE_EXCEEDED', 'upstream request timeout', 'server'],
    ['NOT_FOUND', 'no such log', 'server'],
  ])('maps status %s with the message "%s" to the reason %s', (code, details, reason) => {
    expect(reasonByText(StatusCode[code], details)).toBe(reason);
  });
});

describe('resume backoff', () => {
  it('doubles the resume delay from 100 ms to 10 s while connections are lost, without a limit on calls', () => {
    expect(decideAll(Array<EndedCall>(9).fill(ended()))).toEqual([
      100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000,
    ]);
  });

  it("varies the resume delay by ±20% with jitter 'grpc', and from 0 to 100% with jitter 'full'", () => {
    const waits = (jitter: 'grpc' | 'full') =>
      [0, 0.999].map((chance) => {
        const decision = decideResume(
          INITIAL_RESUME_STATE,
          ended(),
          { ...DEFAULT_RESUME_POLICY, jitter },
          () => chance,
        );
        return decision.action === 'resume' ? Math.round(decision.delayMs) : undefined;
      });
    expect(waits('grpc')).toEqual([80, 120]);
    expect(waits('full')).toEqual([0, 100]);
  });

  it.each<[string, Partial<EndedCall>, number]>([
    ['half of the initial backoff after a long call with progress', { progressed: true, livedMs: 5_000 }, 50],
    ['the initial backoff after a short call with progress', { progressed: true, livedMs: 4_999 }, 100],
    ['half of the initial backoff after a long call that was lost without progress', { livedMs: 5_000 }, 50],
    [
      'half of the initial backoff after a long call without progress that failed with a server status',
      { failure: QUIET, livedMs: 6_000 },
      50,
    ],
    ['the next backoff after an immediate failure', {}, 400],
    ['the next backoff after a short call that failed with a server status', { failure: QUIET, livedMs: 4_999 }, 400],
    ['half of the initial backoff after a long call that ended cleanly', { failure: undefined, livedMs: 5_000 }, 50],
    ['the next backoff after a short call that ended cleanly', { failure: undefined }, 400],
    [
      'the initial backoff after a short call that ended cleanly with progress',
      { failure: undefined, progressed: true },
      100,
    ],
  ])('delays the third resume by %s', (_, call, delayMs) => {
    expect(decide(ended(call), { attempts: 2, serverFailures: 1, waits: 2 })).toMatchObject({ delayMs });
  });

  it('delays a resume by a random part of the initial backoff after a healthy call, with either jitter', () => {
    const waits = (jitter: 'grpc' | 'full') =>
      [0, 0.25, 0.75].map((chance) => {
        const call = ended({ failure: QUIET, livedMs: 6_000 });
        const decision = decideResume(INITIAL_RESUME_STATE, call, { ...DEFAULT_RESUME_POLICY, jitter }, () => chance);
        return decision.action === 'resume' ? decision.delayMs : undefined;
      });
    expect(waits('grpc')).toEqual([0, 25, 75]);
    expect(waits('full')).toEqual([0, 25, 75]);
  });

  it('does not increase the resume delay while the server ends idle calls after 6 s, and applies the initial backoff after the next short call', () => {
    const quiet = ended({ failure: QUIET, livedMs: 6_000 });
    expect(decideAll([...Array<EndedCall>(100).fill(quiet), ended(), ended(), ended()])).toEqual([
      ...Array<number>(100).fill(50),
      100,
      200,
      400,
    ]);
  });

  it('delays a resume after a call that ended at its maximum age only if the call was short', () => {
    const aged = { failure: undefined, aged: true };
    expect(decide(ended({ ...aged, livedMs: 5_000 }))).toMatchObject({ delayMs: 0 });
    expect(decide(ended({ ...aged, livedMs: 4_999 }))).toMatchObject({ delayMs: 100 });
  });

  it('treats minHealthyMs below 1 s as 1 s, so that the resume delay grows after immediate failures', () => {
    const short = Array<EndedCall>(3).fill(ended({ livedMs: MIN_LIFE_MS - 1 }));
    expect(decideAll(short, { minHealthyMs: 0 })).toEqual([100, 200, 400]);
    expect(decideAll([...short, ended({ livedMs: MIN_LIFE_MS })], { minHealthyMs: 0 }).at(-1)).toBe(50);
  });

  it.each<[string, Partial<StreamFailure>, number]>([
    ['the retryAfterMs of the error', { retryAfterMs: 700 }, 700],
    ['the pushback from the server', { pushback: { kind: 'delay', ms: 900 } }, 900],
    ['the backoff if it is longer than retryAfterMs', { retryAfterMs: 20 }, 100],
  ])('delays a resume by at least %s', (_, change, delayMs) => {
    const call = ended({ failure: failure('server', 'UNAVAILABLE', change) });
    expect(decide(call)).toMatchObject({ delayMs });
  });

  it.each<[string, Partial<StreamFailure>]>([
    ['a RetryInfo', { retryAfterMs: 315_576_000_000_000 }],
    ['a pushback', { pushback: { kind: 'delay', ms: 2 ** 31 - 1 } }],
  ])('delays a resume by at most 5 minutes if %s requests a longer delay', (_, change) => {
    const call = ended({ failure: failure('server', 'UNAVAILABLE', change) });
    expect(decide(call)).toMatchObject({ delayMs: 300_000 });
  });

  it.each([
    ['a circuit breaker', failure('circuit-open', 'UNAVAILABLE', { retryAfterMs: 600_000 }), {}],
    ['the backoff', LOST, { initialBackoffMs: 600_000, maxBackoffMs: 600_000 }],
  ])('delays a resume by more than 5 minutes if %s requires a longer delay', (_, of, change) => {
    expect(decide(ended({ failure: of }), INITIAL_RESUME_STATE, change)).toMatchObject({ delayMs: 600_000 });
  });

  it('delays a resume by at least the retryAfterMs of the error after a long call with progress', () => {
    const call = { failure: { ...LOST, retryAfterMs: 700 }, progressed: true, livedMs: 60_000 };
    expect(decide(call)).toMatchObject({ delayMs: 700 });
  });
});

describe('resume limits', () => {
  it('ends a resumable stream at the fifth server failure at one cursor', () => {
    const waits = [100, 200, 400, 800];
    expect(decideAll(Array<EndedCall>(5).fill(ended({ failure: INTERNAL })))).toEqual([...waits, 'poison']);
  });

  it('does not end a resumable stream while the server or its proxy returns UNAVAILABLE', () => {
    const unavailable = ended({ failure: failure('server', 'UNAVAILABLE') });
    expect(decideAll(Array<EndedCall>(6).fill(unavailable)).at(-1)).toBe(3_200);
  });

  it('does not count server failures of long calls at one cursor, and resets the count after long calls', () => {
    const late = ended({ failure: INTERNAL, livedMs: 6_000 });
    const soon = Array<EndedCall>(4).fill(ended({ failure: INTERNAL }));
    const waits = [100, 200, 400, 800];
    expect(decideAll(Array<EndedCall>(50).fill(late), { maxAttempts: 2 })).toEqual(Array(50).fill(50));
    expect(decideAll([...soon, late, ...soon, ...soon])).toEqual([
      ...waits,
      50,
      ...waits,
      'poison',
      'poison',
      'poison',
      'poison',
    ]);
  });

  it('counts server failures of short calls at one cursor even if minHealthyMs is 0 or a call progressed', () => {
    const progressed = ended({ failure: INTERNAL, progressed: true, livedMs: MIN_LIFE_MS - 1 });
    const stuck = Array<EndedCall>(4).fill(ended({ failure: INTERNAL, livedMs: MIN_LIFE_MS - 1 }));
    expect(decideAll([progressed, ...stuck], { minHealthyMs: 0 })).toEqual([100, 200, 400, 800, 'poison']);
  });

  it('does not end a resumable stream after attempt timeouts, although their code is DEADLINE_EXCEEDED', () => {
    const timedOut = ended({ failure: failure('attempt-timeout', 'DEADLINE_EXCEEDED') });
    expect(decideAll(Array<EndedCall>(6).fill(timedOut)).at(-1)).toBe(3_200);
  });

  it('counts a server failure as the first failure at the new cursor if the call had progressed', () => {
    const first = ended({ failure: INTERNAL, progressed: true });
    const stuck = Array<EndedCall>(4).fill(ended({ failure: INTERNAL }));
    expect(decideAll([first, ...stuck])).toEqual([100, 200, 400, 800, 'poison']);
  });

  it('does not count lost connections as server failures at one cursor, and resets the count after progress', () => {
    const calls = [INTERNAL, LOST, INTERNAL, LOST, INTERNAL, LOST, INTERNAL, LOST].map((cause) =>
      ended({ failure: cause }),
    );
    const progress = ended({ failure: LOST, progressed: true });
    expect(decideAll([...calls, progress, ...calls]).every((step) => typeof step === 'number')).toBe(true);
    expect(decideAll([...calls, ended({ failure: INTERNAL })]).at(-1)).toBe('poison');
  });

  it('ends a resumable stream after maxAttempts consecutive calls that failed without progress', () => {
    const progress = ended({ progressed: true });
    const maxAttempts = 3;
    expect(decideAll([ended(), ended(), ended()], { maxAttempts })).toEqual([100, 200, 'attempts-exhausted']);
    expect(decideAll([ended(), ended(), progress, ended(), ended(), ended()], { maxAttempts })).toEqual([
      100,
      200,
      100,
      200,
      400,
      'attempts-exhausted',
    ]);
  });

  it('keeps the attempt count of a resumable stream after a short call that ended cleanly without progress, and resets the count after a long one', () => {
    const clean = ended({ failure: undefined });
    expect(decideAll([ended(), clean, clean, ended()], { maxAttempts: 2 })).toEqual([
      100,
      200,
      400,
      'attempts-exhausted',
    ]);
    const long = ended({ failure: undefined, livedMs: 9_000 });
    expect(decideAll([ended(), clean, long, ended()], { maxAttempts: 2 })).toEqual([100, 200, 50, 100]);
  });

  it('ends a resumable stream if the pushback forbids a retry', () => {
    const stop: Pushback = { kind: 'stop' };
    expect(decide(ended({ failure: { ...INTERNAL, pushback: stop } }))).toEqual({
      action: 'fail',
      because: 'pushback',
    });
  });
});

describe('onError decision', () => {
  it.each(['connection-lost', 'server', 'protocol', 'not-sent', undefined])(
    'follows the decision of onError after a stream failure with reason %s',
    (reason) => {
      const call = { ...ended({ failure: failure(reason) }) };
      expect(decide({ ...call, requested: 'resume' })).toMatchObject({ action: 'resume', delayMs: 100 });
      expect(decide({ ...call, requested: 'complete' })).toEqual({ action: 'complete' });
      expect(decide({ ...call, requested: 'fail' })).toEqual({ action: 'fail', because: 'requested' });
    },
  );

  it.each(['draining', 'closed'])(
    'does not resume a stream of a client that is %s, even if onError requests it',
    (reason) => {
      expect(decide(ended({ failure: failure(reason), requested: 'resume' }))).toEqual({
        action: 'fail',
        because: 'client-closing',
      });
    },
  );

  it.each(['deadline', 'cancelled', 'inbound-cancelled'])(
    'accepts `fail` and `complete` but not `resume` from onError after a stream failure with reason %s',
    (reason) => {
      const call = ended({ failure: failure(reason) });
      expect(decide({ ...call, requested: 'resume' })).toEqual({ action: 'fail', because: 'ended-by-caller' });
      expect(decide({ ...call, requested: 'fail' })).toEqual({ action: 'fail', because: 'requested' });
      expect(decide({ ...call, requested: 'complete' })).toEqual({ action: 'complete' });
    },
  );

  it.each([
    ['server', 'NOT_FOUND'],
    ['server', 'INTERNAL'],
    ['protocol', 'INTERNAL'],
  ] as const)(
    'limits the resumes that onError requests after a stream failure (reason %s, code %s)',
    (reason, code) => {
      const call = ended({ failure: failure(reason, code), requested: 'resume' });
      expect(decideAll(Array<EndedCall>(5).fill(call))).toEqual([100, 200, 400, 800, 'poison']);
      const exhausted = decideAll(Array<EndedCall>(2).fill(call), { maxAttempts: 2 });
      expect(exhausted).toEqual([100, 'attempts-exhausted']);
    },
  );
});

describe('any sequence of calls', () => {
  const call = fc.record<EndedCall>({
    failure: fc.constantFrom(LOST, INTERNAL, failure('server', 'NOT_FOUND'), failure('deadline'), undefined),
    progressed: fc.boolean(),
    livedMs: fc.constantFrom(0, 4_999, 5_000, 60_000),
    requested: fc.constantFrom('resume', undefined),
  });

  it('delays a resume by 80 ms to 12 s after a short call, and by at most the initial backoff after a long call', () => {
    fc.assert(
      fc.property(fc.array(call), fc.double({ min: 0, max: 0.999, noNaN: true }), (calls, chance) => {
        let state = INITIAL_RESUME_STATE;
        let serverFailures = 0;
        for (const next of calls) {
          const isHealthy = next.livedMs >= 5_000;
          const decision = decideResume(state, next, DEFAULT_RESUME_POLICY, () => chance);
          if (next.progressed || isHealthy) serverFailures = 0;
          if (next.failure?.reason === 'server' && !isHealthy) serverFailures += 1;
          if (decision.action !== 'resume') break;
          expect(serverFailures).toBeLessThan(MAX_SERVER_FAILURES);
          expect(decision.delayMs).toBeLessThanOrEqual(isHealthy ? 100 : 12_000);
          if (!isHealthy) expect(decision.delayMs).toBeGreaterThanOrEqual(80);
          state = decision.state;
        }
      }),
    );
  });
});

/**
 * Returns the result of `take` for each message, followed by the cursor. In `steps`, 'call' starts a call, an object with `heartbeat` is a
 * heartbeat, and any other value is the cursor of a message.
 */
function takeAll(seed: unknown, steps: readonly unknown[], compare = compareNumbers) {
  const track = new CursorTrack<unknown>(seed, compare);
  const seen: unknown[] = [];
  for (const step of steps) {
    if (step === 'call') track.callBegan();
    else if (typeof step === 'object' && step !== null && 'heartbeat' in step) track.heartbeat(step.heartbeat);
    else seen.push(track.take(step));
  }
  return [...seen, track.cursor];
}

const byId = (a: unknown, b: unknown): number => Number(BigInt(a as string) - BigInt(b as string));

const NOT_COMPARABLE_TWICE = ['not-comparable', 'not-comparable'];

describe('CursorTrack.take', () => {
  it.each<[string, unknown, readonly unknown[], readonly unknown[]]>([
    ['reports ascending cursors as newer', 0, [1, 2, 5], ['newer', 'newer', 'newer', 5]],
    ['accepts a first cursor that equals the seed', 3, [3, 4], ['newer', 'newer', 4]],
    ['accepts a first cursor that equals the seed, even in a later call', 0, ['call', 0, 1], ['newer', 'newer', 1]],
    [
      'reports cursors up to the last cursor as overlap at the start of a call',
      0,
      [1, 2, 'call', 1, 2, 3],
      ['newer', 'newer', 'overlap', 'overlap', 'newer', 3],
    ],
    [
      'reports a regression if a lower cursor follows a newer cursor in a later call',
      0,
      [1, 2, 'call', 2, 3, 2],
      ['newer', 'newer', 'overlap', 'newer', 'went-back', 3],
    ],
    [
      'reports a regression if a lower cursor follows a newer cursor in the first call',
      0,
      [2, 1],
      ['newer', 'went-back', 2],
    ],
    ['reports a repeated cursor as the same', 0, [1, 1, 2, 2], ['newer', 'same', 'newer', 'same', 2]],
    [
      'reports a repeated cursor as overlap in the next call',
      0,
      [1, 1, 'call', 1, 1, 2],
      ['newer', 'same', 'overlap', 'overlap', 'newer', 2],
    ],
    ['compares bigint cursors with numbers', 0, [1n, 2, 2n, 3n], ['newer', 'newer', 'same', 'newer', 3n]],
    [
      'distinguishes bigint cursors beyond the precision of a number',
      2n ** 60n,
      [2n ** 60n + 1n, 2n ** 60n + 2n],
      ['newer', 'newer', 2n ** 60n + 2n],
    ],
    ['accepts cursors up to 2^53 - 1', 0, [2 ** 53 - 2, 2 ** 53 - 1], ['newer', 'newer', 2 ** 53 - 1]],
    [
      'reports cursors of 2^53 or more as not comparable',
      0,
      [1, 2 ** 53, 2 ** 60],
      ['newer', ...NOT_COMPARABLE_TWICE, 1],
    ],
    ['reports cursors of -(2^53) or less as not comparable', 0, [-(2 ** 53), -1e300], [...NOT_COMPARABLE_TWICE, 0]],
    ['accepts the cursor Infinity, which is not a rounded number', 0, [1, Infinity], ['newer', 'newer', Infinity]],
    ['reports the cursor NaN as not comparable', 0, [1, NaN], ['newer', 'not-comparable', 1]],
    ['reports a string cursor as not comparable if there is no compare function', 0, ['1'], ['not-comparable', 0]],
    [
      'reports the cursors undefined and null as not comparable',
      0,
      [undefined, null],
      ['not-comparable', 'not-comparable', 0],
    ],
  ])('%s', (_, seed, steps, expected) => {
    expect(takeAll(seed, ['call', ...steps])).toEqual(expected);
  });

  it('uses the compare function for cursors that are 64-bit ids in strings', () => {
    const steps = ['call', '9', '10', 'call', '9', '10', '18446744073709551615'];
    expect(takeAll('0', steps, byId)).toEqual([
      'newer',
      'newer',
      'overlap',
      'overlap',
      'newer',
      '18446744073709551615',
    ]);
  });

  it('uses the compare function for cursors that are numbers beyond 2^53', () => {
    expect(takeAll(0, ['call', 2 ** 60], (a, b) => Number(a) - Number(b))).toEqual(['newer', 2 ** 60]);
  });

  it('never drops a message silently if 64-bit ids are read as numbers', () => {
    const id = fc.bigInt({ min: 2n ** 53n - 9n, max: 2n ** 53n + 9n });
    const ids = fc.uniqueArray(id, { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(ids, fc.nat(4), (unordered, resumedAfter) => {
        const sorted = unordered.toSorted((a, b) => (a < b ? -1 : 1)).map(Number);
        const seen = takeAll(0, ['call', ...sorted.slice(0, resumedAfter), 'call', ...sorted.slice(resumedAfter)]);
        const firstRejected = seen.indexOf('not-comparable');
        // The first cursor that is not comparable ends the stream, so later cursors do not count.
        const before = firstRejected === -1 ? seen.slice(0, -1) : seen.slice(0, firstRejected);
        expect(before.every((place) => place === 'newer')).toBe(true);
      }),
      { examples: [[[2n ** 53n, 2n ** 53n + 1n], 1]] },
    );
  });

  it('ignores an undefined cursor seed before the first message', () => {
    expect(takeAll(undefined, ['call', '9', '10'], byId)).toEqual(['newer', 'newer', '10']);
  });

  it('reports the cursors undefined, null, and NaN as not comparable even if the compare function accepts them', () => {
    const loose = (a: unknown, b: unknown): number => ((a as number) < (b as number) ? -1 : a === b ? 0 : +(a! > b!));
    expect(takeAll(0, [1, undefined, null, NaN], loose)).toEqual([
      'newer',
      'not-comparable',
      'not-comparable',
      'not-comparable',
      1,
    ]);
  });

  it('reports a cursor as not comparable if the compare function does not return a number', () => {
    expect(takeAll(0, [1], () => true as unknown as number)).toEqual(['not-comparable', 0]);
    expect(takeAll(0, [1], () => NaN)).toEqual(['not-comparable', 0]);
  });

  it('reports too much overlap after more than MAX_OVERLAP repeated messages in one call', () => {
    const repeats = Array<number>(MAX_OVERLAP).fill(5);
    const allowed = repeats.map(() => 'overlap');
    expect(takeAll(0, ['call', 5, 'call', ...repeats, 6])).toEqual(['newer', ...allowed, 'newer', 6]);
    expect(takeAll(0, ['call', 5, 'call', ...repeats, 5]).slice(-2)).toEqual(['too-much-overlap', 5]);
    const twice = ['call', 5, 'call', ...repeats, 'call', ...repeats, 6];
    expect(takeAll(0, twice).slice(-2)).toEqual(['newer', 6]);
  });
});

describe('CursorTrack.heartbeat', () => {
  it.each<[string, readonly unknown[], readonly unknown[]]>([
    ['advances the cursor if the heartbeat is newer', [1, { heartbeat: 7 }], ['newer', 7]],
    ['advances the cursor on a heartbeat before the first message', [{ heartbeat: 7 }], [7]],
    ['ignores a heartbeat that is not newer', [5, { heartbeat: 3 }, { heartbeat: 5 }, 6], ['newer', 'newer', 6]],
    [
      'ignores a heartbeat without a comparable cursor',
      [5, { heartbeat: undefined }, { heartbeat: NaN }, { heartbeat: 'x' }, 6],
      ['newer', 'newer', 6],
    ],
    ['compares later messages with the heartbeat', [{ heartbeat: 7 }, 7, 6], ['same', 'went-back', 7]],
    [
      'counts messages up to the heartbeat as overlap in the next call',
      [1, { heartbeat: 7 }, 'call', 6, 7, 8],
      ['newer', 'overlap', 'overlap', 'newer', 8],
    ],
  ])('%s', (_, steps, expected) => {
    expect(takeAll(0, ['call', ...steps])).toEqual(expected);
  });
});

describe('CursorTrack.heartbeat before the first message', () => {
  it('replaces an undefined cursor seed with the first heartbeat, but keeps a newer seed', () => {
    expect(takeAll(undefined, ['call', { heartbeat: '7' }, '8'], byId)).toEqual(['newer', '8']);
    expect(takeAll(undefined, ['call', { heartbeat: '7' }], byId)).toEqual(['7']);
    expect(takeAll(undefined, ['call', { heartbeat: undefined }, '8'], byId)).toEqual(['newer', '8']);
    expect(takeAll(9, ['call', { heartbeat: 0 }])).toEqual([9]);
  });
});

describe('CursorTrack.progressed', () => {
  it('reports progress if a message or a heartbeat has advanced the cursor since the call started', () => {
    const track = new CursorTrack<number>(0, compareNumbers);
    expect(track.progressed).toBe(false);
    const progressed = (step: () => void): boolean => {
      track.callBegan();
      step();
      return track.progressed;
    };
    expect(progressed(() => undefined)).toBe(false);
    expect(progressed(() => track.take(0))).toBe(true);
    expect(progressed(() => track.take(0))).toBe(false);
    expect(progressed(() => track.take(1))).toBe(true);
    expect(progressed(() => track.heartbeat(1))).toBe(false);
    expect(progressed(() => track.heartbeat(2))).toBe(true);
  });
});
