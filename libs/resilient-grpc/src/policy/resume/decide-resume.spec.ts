import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FailureReason } from '../../errors/grpc-call-error.js';
import { StatusCode, STATUS_NAMES, type StatusName } from '../../status/status-code.js';
import { NO_PUSHBACK, type Pushback } from '../pushback/parse-pushback.js';
import { decideResume, INITIAL_RESUME_STATE, type EndedCall, type ResumeState } from './decide-resume.js';
import { DEFAULT_RESUME_POLICY, MAX_SERVER_FAILURES, MIN_LIFE_MS, type ResumePolicy } from './resume-policy.js';
import { failureKind, reasonByText, type StreamFailure } from './stream-failure.js';

function failure(
  reason: string | undefined,
  code: StatusName = 'UNAVAILABLE',
  change: Partial<StreamFailure> = {},
): StreamFailure {
  return { reason, code: StatusCode[code], pushback: NO_PUSHBACK, retryAfterMs: undefined, ...change };
}

const LOST = failure('connection-lost');
const INTERNAL = failure('server', 'INTERNAL');
/** As a server ends a feed that is quiet, or whose connection is old. */
const QUIET = failure('server', 'UNAVAILABLE');
const MIDDLE = (): number => 0.5;

/** A call whose connection was lost after a short life, without progress. */
function ended(change: Partial<EndedCall> = {}): EndedCall {
  return { failure: LOST, progressed: false, livedMs: 10, ...change };
}

function decide(call: EndedCall, before: ResumeState = INITIAL_RESUME_STATE, change: Partial<ResumePolicy> = {}) {
  return decideResume(before, call, { ...DEFAULT_RESUME_POLICY, ...change }, MIDDLE);
}

/** What is decided after each of `calls`, one after the other. */
function history(calls: readonly EndedCall[], change: Partial<ResumePolicy> = {}) {
  let state = INITIAL_RESUME_STATE;
  return calls.map((call) => {
    const decision = decide(call, state, change);
    if (decision.action === 'resume') state = decision.state;
    return decision.action === 'resume' ? decision.delayMs : decision.because;
  });
}

describe('what is resumed', () => {
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
    ['deadline', 'over'],
    ['cancelled', 'over'],
    ['inbound-cancelled', 'over'],
    ['not-sent', 'made-here'],
    ['protocol', 'made-here'],
    ['draining', 'shut'],
    ['closed', 'shut'],
    ['a reason of a later version', 'made-here'],
    [undefined, 'no-status'],
  ] satisfies [FailureReason | undefined | (string & {}), string][])('after %s: %s', (reason, kind) => {
    expect(failureKind(failure(reason))).toBe(kind);
    const decision = decide(ended({ failure: failure(reason) }));
    if (kind === 'lost' || kind === 'server') expect(decision).toMatchObject({ action: 'resume', because: kind });
    else expect(decision).toEqual({ action: 'fail', because: kind });
  });

  it('by the code, where the server said it', () => {
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
  ])("and grpc-js's own %s %s is %s", (code, details, reason) => {
    expect(reasonByText(StatusCode[code], details)).toBe(reason);
  });
});

describe('pace', () => {
  it('doubles from 100 ms to 10 s, without an end, while connections are lost', () => {
    expect(history(Array<EndedCall>(9).fill(ended()))).toEqual([
      100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000,
    ]);
  });

  it('is spread by ±20 %, or from 0 where that is asked for', () => {
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
    ['progressed and lasted long: half of the first', { progressed: true, livedMs: 5_000 }, 50],
    ['progressed and was short: the first', { progressed: true, livedMs: 4_999 }, 100],
    ['was lost after a long life without progress: half of the first', { livedMs: 5_000 }, 50],
    [
      'failed by the server after a long life without progress: half of the first',
      { failure: QUIET, livedMs: 6_000 },
      50,
    ],
    ['failed at once: the next', {}, 400],
    ['failed by the server after a short life: the next', { failure: QUIET, livedMs: 4_999 }, 400],
    ['ended cleanly after a long life: half of the first', { failure: undefined, livedMs: 5_000 }, 50],
    ['ended cleanly after a short life: the next', { failure: undefined }, 400],
    ['ended cleanly and was short, with progress: the first', { failure: undefined, progressed: true }, 100],
  ])('after two setbacks and a middling chance, for a call that %s backoff', (_, call, delayMs) => {
    expect(decide(ended(call), { attempts: 2, serverFailures: 1, waits: 2 })).toMatchObject({ delayMs });
  });

  it('spreads the calls after healthy ones over the first backoff, whatever the jitter of the others is', () => {
    const waits = (jitter: 'grpc' | 'full') =>
      [0, 0.25, 0.75].map((chance) => {
        const call = ended({ failure: QUIET, livedMs: 6_000 });
        const decision = decideResume(INITIAL_RESUME_STATE, call, { ...DEFAULT_RESUME_POLICY, jitter }, () => chance);
        return decision.action === 'resume' ? decision.delayMs : undefined;
      });
    expect(waits('grpc')).toEqual([0, 25, 75]);
    expect(waits('full')).toEqual([0, 25, 75]);
  });

  it('does not grow while every call of a quiet feed is ended after 6 s, and grows from the first again after that', () => {
    const quiet = ended({ failure: QUIET, livedMs: 6_000 });
    expect(history([...Array<EndedCall>(100).fill(quiet), ended(), ended(), ended()])).toEqual([
      ...Array<number>(100).fill(50),
      100,
      200,
      400,
    ]);
  });

  it('adds no wait to the age of a call, unless the call was short', () => {
    const aged = { failure: undefined, aged: true };
    expect(decide(ended({ ...aged, livedMs: 5_000 }))).toMatchObject({ delayMs: 0 });
    expect(decide(ended({ ...aged, livedMs: 4_999 }))).toMatchObject({ delayMs: 100 });
  });

  it('takes minHealthyMs below 1 s for 1 s, so that calls that fail at once always get a backoff that grows', () => {
    const short = Array<EndedCall>(3).fill(ended({ livedMs: MIN_LIFE_MS - 1 }));
    expect(history(short, { minHealthyMs: 0 })).toEqual([100, 200, 400]);
    expect(history([...short, ended({ livedMs: MIN_LIFE_MS })], { minHealthyMs: 0 }).at(-1)).toBe(50);
  });

  it.each<[string, Partial<StreamFailure>, number]>([
    ['the time that an error names', { retryAfterMs: 700 }, 700],
    ['a pushback of the server', { pushback: { kind: 'delay', ms: 900 } }, 900],
    ['the backoff, where that is longer', { retryAfterMs: 20 }, 100],
  ])('is at least %s', (_, change, delayMs) => {
    const call = ended({ failure: failure('server', 'UNAVAILABLE', change) });
    expect(decide(call)).toMatchObject({ delayMs });
  });

  it('is at least what the server asked for, also after a long life with progress', () => {
    const call = { failure: { ...LOST, retryAfterMs: 700 }, progressed: true, livedMs: 60_000 };
    expect(decide(call)).toMatchObject({ delayMs: 700 });
  });
});

describe('bounds', () => {
  it('end a stream at the fifth failure by the server at one place', () => {
    const waits = [100, 200, 400, 800];
    expect(history(Array<EndedCall>(5).fill(ended({ failure: INTERNAL })))).toEqual([...waits, 'poison']);
  });

  it('do not end it while the server, or a proxy before it, is unavailable', () => {
    const unavailable = ended({ failure: failure('server', 'UNAVAILABLE') });
    expect(history(Array<EndedCall>(6).fill(unavailable)).at(-1)).toBe(3_200);
  });

  it('do not end it for failures of calls that had lasted long, and count those after them from the first', () => {
    const late = ended({ failure: INTERNAL, livedMs: 6_000 });
    const soon = Array<EndedCall>(4).fill(ended({ failure: INTERNAL }));
    const waits = [100, 200, 400, 800];
    expect(history(Array<EndedCall>(50).fill(late), { maxAttempts: 2 })).toEqual(Array(50).fill(50));
    expect(history([...soon, late, ...soon, ...soon])).toEqual([
      ...waits,
      50,
      ...waits,
      'poison',
      'poison',
      'poison',
      'poison',
    ]);
  });

  it('count failures soon after a call started, also where minHealthyMs is 0 or the call progressed', () => {
    const progressed = ended({ failure: INTERNAL, progressed: true, livedMs: MIN_LIFE_MS - 1 });
    const stuck = Array<EndedCall>(4).fill(ended({ failure: INTERNAL, livedMs: MIN_LIFE_MS - 1 }));
    expect(history([progressed, ...stuck], { minHealthyMs: 0 })).toEqual([100, 200, 400, 800, 'poison']);
  });

  it('do not end it for attempts that this side ended, whatever their code', () => {
    const timedOut = ended({ failure: failure('attempt-timeout', 'DEADLINE_EXCEEDED') });
    expect(history(Array<EndedCall>(6).fill(timedOut)).at(-1)).toBe(3_200);
  });

  it('count the failure that came right after progress as the first at its place', () => {
    const first = ended({ failure: INTERNAL, progressed: true });
    const stuck = Array<EndedCall>(4).fill(ended({ failure: INTERNAL }));
    expect(history([first, ...stuck])).toEqual([100, 200, 400, 800, 'poison']);
  });

  it('do not count lost connections for that, nor what came before progress', () => {
    const calls = [INTERNAL, LOST, INTERNAL, LOST, INTERNAL, LOST, INTERNAL, LOST].map((what) =>
      ended({ failure: what }),
    );
    const progress = ended({ failure: LOST, progressed: true });
    expect(history([...calls, progress, ...calls]).every((step) => typeof step === 'number')).toBe(true);
    expect(history([...calls, ended({ failure: INTERNAL })]).at(-1)).toBe('poison');
  });

  it('count calls that failed without progress against maxAttempts', () => {
    const progress = ended({ progressed: true });
    const maxAttempts = 3;
    expect(history([ended(), ended(), ended()], { maxAttempts })).toEqual([100, 200, 'attempts-exhausted']);
    expect(history([ended(), ended(), progress, ended(), ended(), ended()], { maxAttempts })).toEqual([
      100,
      200,
      100,
      200,
      400,
      'attempts-exhausted',
    ]);
  });

  it('do not count a call that ended cleanly, which resets nothing either if it was short', () => {
    const clean = ended({ failure: undefined });
    expect(history([ended(), clean, clean, ended()], { maxAttempts: 2 })).toEqual([
      100,
      200,
      400,
      'attempts-exhausted',
    ]);
    const long = ended({ failure: undefined, livedMs: 9_000 });
    expect(history([ended(), clean, long, ended()], { maxAttempts: 2 })).toEqual([100, 200, 50, 100]);
  });

  it('end it when the server says not to come again', () => {
    const stop: Pushback = { kind: 'stop', because: 'negative' };
    expect(decide(ended({ failure: { ...INTERNAL, pushback: stop } }))).toEqual({
      action: 'fail',
      because: 'pushback',
    });
  });
});

describe('the word of the user', () => {
  it.each(['connection-lost', 'server', 'protocol', 'not-sent', undefined])(
    'comes before the rules: after %s',
    (reason) => {
      const call = { ...ended({ failure: failure(reason) }) };
      const because = reason === 'connection-lost' ? 'lost' : reason === 'server' ? 'server' : 'asked';
      expect(decide({ ...call, asked: 'resume' })).toMatchObject({ action: 'resume', because, delayMs: 100 });
      expect(decide({ ...call, asked: 'complete' })).toEqual({ action: 'complete', because: 'asked' });
      expect(decide({ ...call, asked: 'fail' })).toEqual({ action: 'fail', because: 'asked' });
    },
  );

  it.each(['draining', 'closed'])('resumes nothing that is %s', (reason) => {
    expect(decide(ended({ failure: failure(reason), asked: 'resume' }))).toEqual({ action: 'fail', because: 'shut' });
  });

  it.each(['deadline', 'cancelled', 'inbound-cancelled'])(
    'ends a stream that is over by %s, but does not resume it',
    (reason) => {
      const call = ended({ failure: failure(reason) });
      expect(decide({ ...call, asked: 'resume' })).toEqual({ action: 'fail', because: 'over' });
      expect(decide({ ...call, asked: 'fail' })).toEqual({ action: 'fail', because: 'asked' });
      expect(decide({ ...call, asked: 'complete' })).toEqual({ action: 'complete', because: 'asked' });
    },
  );

  it.each([
    ['server', 'NOT_FOUND'],
    ['server', 'INTERNAL'],
    ['protocol', 'INTERNAL'],
  ] as const)('cannot resume a failure by the server (%s, %s) more often than any', (reason, code) => {
    const call = ended({ failure: failure(reason, code), asked: 'resume' });
    expect(history(Array<EndedCall>(5).fill(call))).toEqual([100, 200, 400, 800, 'poison']);
    const exhausted = history(Array<EndedCall>(2).fill(call), { maxAttempts: 2 });
    expect(exhausted).toEqual([100, 'attempts-exhausted']);
  });
});

describe('any history', () => {
  const call = fc.record<EndedCall>({
    failure: fc.constantFrom(LOST, INTERNAL, failure('server', 'NOT_FOUND'), failure('deadline'), undefined),
    progressed: fc.boolean(),
    livedMs: fc.constantFrom(0, 4_999, 5_000, 60_000),
    asked: fc.constantFrom('resume', undefined),
  });

  it('waits no longer than the longest backoff; without a long life there is a wait, after one it is the first at most', () => {
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
