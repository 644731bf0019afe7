import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import type { LostConnection, Verdict, VerdictKind } from '../evidence/classify.js';
import { NO_PUSHBACK, type Pushback } from '../pushback/parse-pushback.js';
import { A6Throttle, DefaultBudget, type RetryBudget } from '../throttling/default-budget.js';
import { decideRetry, type RetryInput, isRetry, stopsRetries } from './decide-retry.js';
import { DEFAULT_RETRY_POLICY } from './retry-policy.js';

const { UNAVAILABLE, INVALID_ARGUMENT, DEADLINE_EXCEEDED, UNAUTHENTICATED, RESOURCE_EXHAUSTED } = StatusCode;

const LOST: LostConnection = { connection: {}, acceptsNoStreams: true };

/** A budget that grants or refuses every retry, and records failures and requested retries. */
class CountingBudget implements RetryBudget {
  failures = 0;
  readonly requested: (LostConnection | undefined)[] = [];
  constructor(private readonly grants = true) {}
  onSuccess(): void {}
  onDeadline(): void {}
  onFailure(): void {
    this.failures++;
  }
  tryRetry(_now: number, lostWith?: LostConnection): boolean {
    this.requested.push(lostWith);
    return this.grants;
  }
  tokens(): number {
    return 0;
  }
  suffices(): boolean {
    return this.grants;
  }
}

function verdict(kind: VerdictKind, change: Partial<Verdict> = {}): Verdict {
  return {
    kind,
    reachedServer: 'maybe',
    code: UNAVAILABLE,
    details: '',
    retryableHttp: false,
    connectionLost: kind === 'connection-lost',
    ...change,
  };
}

/** Returns the input for a call that lost its connection in the first attempt. The method is safe, and nothing prevents a retry. */
function input(change: Partial<RetryInput> = {}): RetryInput {
  return {
    verdict: verdict('connection-lost'),
    pushback: NO_PUSHBACK,
    policy: DEFAULT_RETRY_POLICY,
    attempts: 1,
    retriesSincePushback: 0,
    delivered: false,
    requestReplayable: true,
    remainingMs: Infinity,
    draining: false,
    disabled: false,
    budget: new CountingBudget(),
    now: 0,
    lostWith: LOST,
    random: () => 0.5,
    ...change,
  };
}

const unsafe = { policy: undefined };
const STOP: Pushback = { kind: 'stop' };

describe('unsent call', () => {
  it('lets an unsent call wait for the channel at most ten times', () => {
    const unsent = verdict('unsent', { reachedServer: 'no' });
    expect(decideRetry(input({ verdict: unsent, unsent: 10 }))).toMatchObject({ retry: true, kind: 'wait' });
    expect(decideRetry(input({ verdict: unsent, unsent: 11 }))).toEqual({
      retry: false,
      because: 'attempts-exhausted',
    });
  });
});

describe('GOAWAY-rejected call', () => {
  const rejected = verdict('refused', { reachedServer: 'no' });
  const firstTime = { verdict: rejected, transparentLeft: true };

  it('resends a GOAWAY-rejected call once without a token, even if retries are disabled', () => {
    const budget = new CountingBudget(false);
    const change = { ...firstTime, policy: undefined, disabled: true, attempts: 4, budget };
    expect(decideRetry(input(change))).toEqual({ retry: true, kind: 'wait', delayMs: 0, because: 'refused' });
    expect(budget).toMatchObject({ failures: 0, requested: [] });
  });

  it('applies the retry policy of the method to a GOAWAY-rejected call after the first resend', () => {
    expect(decideRetry(input({ verdict: rejected }))).toMatchObject({ kind: 'policy', because: 'refused' });
    const other = { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: new Set([StatusCode.ABORTED]) };
    expect(decideRetry(input({ verdict: rejected, policy: other }))).toEqual({ retry: false, because: 'fatal-status' });
    const two = { ...DEFAULT_RETRY_POLICY, maxAttempts: 2 };
    expect(decideRetry(input({ verdict: rejected, policy: two, attempts: 2 }))).toMatchObject({
      because: 'attempts-exhausted',
    });
  });

  it('does not resend a GOAWAY-rejected call if the request is not replayable', () => {
    const change = { ...firstTime, requestReplayable: false };
    expect(decideRetry(input(change))).toEqual({ retry: false, because: 'request-not-replayable' });
  });
});

describe('REFUSED_STREAM reset', () => {
  const refused = { verdict: verdict('refused'), transparentLeft: true };

  it('does not resend a refused stream of a method that is not safe to repeat', () => {
    expect(decideRetry(input({ ...refused, ...unsafe }))).toEqual({ retry: false, because: 'not-safe-to-repeat' });
  });

  it('retries a refused stream according to the retry policy of its method', () => {
    expect(decideRetry(input(refused))).toMatchObject({ kind: 'policy', delayMs: 100, because: 'refused' });
  });

  it('resends a refused stream of any method once if trustRefused is set', () => {
    const trusted = { ...refused, ...unsafe, trustRefused: true };
    expect(decideRetry(input(trusted))).toMatchObject({ kind: 'wait', because: 'refused' });
    expect(decideRetry(input({ ...trusted, transparentLeft: false }))).toEqual({
      retry: false,
      because: 'not-safe-to-repeat',
    });
  });
});

describe('status replaced by UNAVAILABLE', () => {
  const lost = verdict('connection-lost', { originalCode: StatusCode.INTERNAL });

  it.each([StatusCode.INTERNAL, StatusCode.UNAVAILABLE])(
    'retries INTERNAL that was replaced by UNAVAILABLE if the retry policy lists code %i',
    (code) => {
      const policy = { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: new Set([code]) };
      expect(decideRetry(input({ verdict: lost, policy }))).toMatchObject({ kind: 'policy' });
    },
  );

  it('does not retry INTERNAL that was replaced by UNAVAILABLE if the retry policy lists neither code', () => {
    const policy = { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: new Set([StatusCode.ABORTED]) };
    expect(decideRetry(input({ verdict: lost, policy }))).toEqual({ retry: false, because: 'fatal-status' });
  });
});

describe('retry during a drain', () => {
  it('neither retries a call nor takes a token if the wait would last until the end of the drain', () => {
    const budget = new CountingBudget();
    expect(decideRetry(input({ drainMs: 100, budget }))).toEqual({ retry: false, because: 'draining' });
    expect(budget.requested).toEqual([]);
    expect(decideRetry(input({ drainMs: 101, budget }))).toMatchObject({ retry: true });
  });
});

describe('ENHANCE_YOUR_CALM reset', () => {
  const overloaded = { verdict: verdict('connection-lost', { overloaded: true, connectionLost: false }) };

  it('retries a call after 1 s ± 20% if the server sent ENHANCE_YOUR_CALM', () => {
    expect(decideRetry(input({ ...overloaded, random: () => 0 }))).toMatchObject({ delayMs: 800 });
    expect(decideRetry(input({ ...overloaded, random: () => 0.5 }))).toMatchObject({ delayMs: 1_000 });
  });

  it('retries a call later than 1 s after ENHANCE_YOUR_CALM if the backoff of the retry policy is longer', () => {
    const policy = { ...DEFAULT_RETRY_POLICY, initialBackoffMs: 1_900 };
    expect(decideRetry(input({ ...overloaded, policy }))).toMatchObject({ delayMs: 1_900 });
  });
});

describe('retried attempt', () => {
  it.each<[string, Partial<RetryInput>, object]>([
    [
      'lets an unsent call of any method wait for the channel',
      { verdict: verdict('unsent'), ...unsafe },
      { kind: 'wait', delayMs: 0, because: 'unsent' },
    ],
    [
      'lets an unsent call wait for the channel even if retry is false',
      { verdict: verdict('unsent'), disabled: true },
      { kind: 'wait' },
    ],
    [
      'lets an unsent call wait for the channel after any number of attempts',
      { verdict: verdict('unsent'), attempts: 9 },
      { kind: 'wait' },
    ],
    [
      'retries a rejected call of any method after the default backoff',
      { verdict: verdict('refused', { reachedServer: 'no' }), ...unsafe },
      { kind: 'policy', delayMs: 100, because: 'refused' },
    ],
    ['retries a lost call of a safe method', {}, { kind: 'policy', delayMs: 100, because: 'connection-lost' }],
    ['doubles the backoff before the next retry', { attempts: 2, retriesSincePushback: 1 }, { delayMs: 200 }],
    ['retries a listed status', { verdict: verdict('server') }, { kind: 'policy', because: 'retryable-status' }],
    [
      'retries HTTP 503 as UNAVAILABLE',
      { verdict: verdict('http', { retryableHttp: true }) },
      { because: 'retryable-http' },
    ],
    [
      'retries an attempt timeout even if DEADLINE_EXCEEDED is not listed',
      { verdict: verdict('attempt-timeout', { code: DEADLINE_EXCEEDED }) },
      { because: 'attempt-timeout' },
    ],
    ['retries an idle stream', { verdict: verdict('stream-idle') }, { kind: 'policy', because: 'stream-idle' }],
    [
      'retries a call whose credentials failed with a listed code',
      { verdict: verdict('local', { credentialsFailed: true }) },
      { kind: 'policy', because: 'credentials' },
    ],
    [
      'delays a retry by exactly the pushback instead of the backoff',
      { verdict: verdict('server'), pushback: { kind: 'delay', ms: 777 }, retriesSincePushback: 3 },
      { delayMs: 777, because: 'pushback' },
    ],
    [
      'lets an unsent call that serves a retry wait for the channel',
      { inRetryChain: true, verdict: verdict('unsent', { reachedServer: 'no' }) },
      { kind: 'wait' },
    ],
    [
      'retries a rejected call that serves a retry, because the call reached no server',
      { inRetryChain: true, verdict: verdict('refused', { reachedServer: 'no' }) },
      { kind: 'policy' },
    ],
    ['retries a call if the wait ends before the deadline', { remainingMs: 101 }, { delayMs: 100 }],
  ])('%s', (_, change, expected) => {
    expect(decideRetry(input(change))).toMatchObject({ retry: true, ...expected });
  });
});

describe('final attempt', () => {
  it.each<[string, Partial<RetryInput>, string]>([
    ['a success', { verdict: verdict('ok') }, 'success'],
    ['a call that the caller cancelled', { verdict: verdict('cancelled') }, 'cancelled'],
    ['a call that exceeded its deadline', { verdict: verdict('deadline') }, 'deadline'],
    ['a committed call', { verdict: verdict('committed') }, 'committed'],
    [
      'a call whose response was cut off after a message was delivered',
      { verdict: verdict('committed', { connectionLost: true }), delivered: true },
      'committed',
    ],
    [
      'a cut-off response of a method that is not safe',
      { verdict: verdict('committed', { connectionLost: true }), policy: undefined },
      'not-safe-to-repeat',
    ],
    [
      'an attempt timeout after headers',
      { verdict: verdict('attempt-timeout', { reachedServer: 'yes' }) },
      'committed',
    ],
    ['an idle stream after headers', { verdict: verdict('stream-idle', { reachedServer: 'yes' }) }, 'committed'],
    ['a protocol violation', { verdict: verdict('protocol') }, 'protocol'],
    ['a request that cannot be serialized', { verdict: verdict('serialize') }, 'local'],
    ['a request that is too large', { verdict: verdict('local', { code: RESOURCE_EXHAUSTED }) }, 'local'],
    ['a local failure with UNAVAILABLE', { verdict: verdict('local', { details: 'not today' }) }, 'local'],
    [
      'a call whose credentials failed with an unlisted code',
      {
        verdict: verdict('local', {
          code: UNAUTHENTICATED,
          credentialsFailed: true,
        }),
      },
      'local',
    ],
    [
      'a credentials failure of a method that is not safe',
      { verdict: verdict('local', { credentialsFailed: true }), ...unsafe },
      'local',
    ],
    ['an unlisted status', { verdict: verdict('server', { code: INVALID_ARGUMENT }) }, 'fatal-status'],
    [
      'an unlisted status of a method that is not safe',
      { verdict: verdict('server', { code: INVALID_ARGUMENT }), ...unsafe },
      'fatal-status',
    ],
    ['UNAVAILABLE of a method that is not safe', { verdict: verdict('server'), ...unsafe }, 'not-safe-to-repeat'],
    ['a lost call of a method that is not safe', unsafe, 'not-safe-to-repeat'],
    [
      'an attempt timeout of a method that is not safe',
      { verdict: verdict('attempt-timeout'), ...unsafe },
      'not-safe-to-repeat',
    ],
    ['HTTP 404', { verdict: verdict('http') }, 'fatal-status'],
    [
      'HTTP 503 if UNAVAILABLE is not listed',
      {
        verdict: verdict('http', { retryableHttp: true }),
        policy: { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: new Set([RESOURCE_EXHAUSTED]) },
      },
      'fatal-status',
    ],
    ['a call with a pushback that forbids retries', { verdict: verdict('server'), pushback: STOP }, 'pushback'],
    ['a lost call that the retry budget refuses', { budget: new CountingBudget(false) }, 'throttled'],
    [
      'a refused call if the retry budget is empty',
      { verdict: verdict('refused'), budget: new CountingBudget(false) },
      'throttled',
    ],
    ['after the fourth of four attempts', { attempts: 4 }, 'attempts-exhausted'],
    [
      'after the fourth of four attempts, even with a pushback',
      { attempts: 4, verdict: verdict('server'), pushback: { kind: 'delay', ms: 0 } },
      'attempts-exhausted',
    ],
    [
      'a call that was refused for the fourth time',
      { attempts: 4, verdict: verdict('refused', { reachedServer: 'no' }), ...unsafe },
      'attempts-exhausted',
    ],
    ['a call whose wait would last until its deadline', { remainingMs: 100 }, 'deadline'],
    [
      'a call whose pushback exceeds its deadline',
      { verdict: verdict('server'), pushback: { kind: 'delay', ms: 5_000 }, remainingMs: 4_000 },
      'deadline',
    ],
    ['an unsent call with no time left', { verdict: verdict('unsent'), remainingMs: 0 }, 'deadline'],
    ['a lost call during a drain', { draining: true }, 'draining'],
    ['an unsent call during a drain', { verdict: verdict('unsent'), draining: true }, 'draining'],
    ['a lost call if retry is false', { disabled: true }, 'disabled'],
    ['a refused call if retry is false', { verdict: verdict('refused'), disabled: true }, 'disabled'],
    ['a request that is not replayable', { requestReplayable: false }, 'request-not-replayable'],
    [
      'an unsent request that is not replayable',
      { verdict: verdict('unsent'), requestReplayable: false },
      'request-not-replayable',
    ],
    [
      'a fatal status of a request that is not replayable',
      { verdict: verdict('server', { code: INVALID_ARGUMENT }), requestReplayable: false },
      'fatal-status',
    ],
    [
      'a call of a resumable stream if the pushback exceeds 5 minutes',
      { isPartOfStream: true, pushback: { kind: 'delay', ms: 300_001 } },
      'pushback',
    ],
    ['a lost call that serves a retry', { inRetryChain: true }, 'retry-chain'],
    [
      'a call that serves a retry and failed with a server status',
      { inRetryChain: true, verdict: verdict('server') },
      'retry-chain',
    ],
    [
      'an attempt timeout of a call that serves a retry',
      { inRetryChain: true, verdict: verdict('attempt-timeout') },
      'retry-chain',
    ],
    ['a call that serves a retry and received a negative pushback', { inRetryChain: true, pushback: STOP }, 'pushback'],
    ['after the last attempt of a call that serves a retry', { inRetryChain: true, attempts: 4 }, 'attempts-exhausted'],
  ])('does not retry %s', (_, change, because) => {
    expect(decideRetry(input(change))).toEqual({ retry: false, because });
  });

  it('returns the same retry decision object for every success', () => {
    expect(decideRetry(input({ verdict: verdict('ok') }))).toBe(decideRetry(input({ verdict: verdict('ok') })));
  });
});

describe('retry budget', () => {
  it.each<[string, Partial<RetryInput>, number]>([
    ['debits the retry budget for a listed status', { verdict: verdict('server') }, 1],
    ['debits the retry budget for the failure of the last attempt of a call', { attempts: 4 }, 1],
    ['debits the retry budget for a refused call', { verdict: verdict('refused') }, 1],
    ['debits the retry budget for a call that serves a retry', { inRetryChain: true }, 1],
    [
      'debits the retry budget for an unlisted status with a pushback that forbids retries',
      { verdict: verdict('server', { code: INVALID_ARGUMENT }), pushback: STOP },
      1,
    ],
    [
      'debits the retry budget for a pushback that forbids retries of a method without a retry policy',
      { verdict: verdict('server'), pushback: STOP, ...unsafe },
      1,
    ],
    [
      'does not debit the retry budget for a call that an overloaded server refused',
      { verdict: verdict('overloaded'), pushback: STOP },
      0,
    ],
    [
      'does not debit the retry budget for an unlisted status',
      { verdict: verdict('server', { code: INVALID_ARGUMENT }) },
      0,
    ],
    ['does not debit the retry budget for a success', { verdict: verdict('ok') }, 0],
    ['does not debit the retry budget for a committed failure', { verdict: verdict('committed') }, 0],
    ['does not debit the retry budget for a wait for the channel', { verdict: verdict('unsent') }, 0],
    ['does not debit the retry budget for a call with retry: false', { disabled: true }, 0],
    [
      'does not debit the retry budget for a request that is not replayable',
      { requestReplayable: false, pushback: STOP },
      0,
    ],
  ])('%s', (_, change, failures) => {
    const budget = new CountingBudget();
    decideRetry(input({ ...change, budget }));
    expect(budget.failures).toBe(failures);
  });

  it('passes the lost connection of a failed attempt to the retry budget', () => {
    const budget = new CountingBudget();
    decideRetry(input({ budget }));
    decideRetry(input({ budget, verdict: verdict('server'), lostWith: undefined }));
    expect(budget.requested).toEqual([LOST, undefined]);
  });

  it.each<[string, Partial<RetryInput>]>([
    ['has no attempts left', { attempts: 4 }],
    ['ends during a drain', { draining: true }],
    ['has too little time left', { remainingMs: 1 }],
    ['waits for the channel', { verdict: verdict('unsent') }],
  ])('takes no retry token for a call that %s', (_, change) => {
    const budget = new DefaultBudget();
    decideRetry(input({ ...change, budget }));
    expect(budget.tokens(0)).toBe(10);
  });

  it('stops retries after half of the tokens of an A6 throttle are spent', () => {
    const budget = new A6Throttle({ maxTokens: 10, tokenRatio: 0.1 });
    const decisions = Array.from({ length: 6 }, () => decideRetry(input({ budget, verdict: verdict('server') })));
    expect(decisions.map(({ retry }) => retry)).toEqual([true, true, true, true, false, false]);
  });
});

describe('any attempt', () => {
  const kinds: VerdictKind[] = [
    'ok',
    'unsent',
    'local',
    'overloaded',
    'refused',
    'connection-lost',
    'http',
    'server',
    'committed',
    'deadline',
    'attempt-timeout',
    'stream-idle',
    'cancelled',
    'protocol',
    'serialize',
  ];
  const anyAttempt = fc.record({
    kind: fc.constantFrom(...kinds),
    reachedServer: fc.constantFrom<Verdict['reachedServer'][]>('no', 'maybe', 'yes'),
    code: fc.constantFrom(...Object.values(StatusCode)),
    retryableHttp: fc.boolean(),
    pushback: fc.constantFrom<Pushback[]>(NO_PUSHBACK, { kind: 'delay', ms: 50 }, STOP),
    safe: fc.boolean(),
    attempts: fc.integer({ min: 1, max: 6 }),
    requestReplayable: fc.boolean(),
    remainingMs: fc.constantFrom(0, 90, 1_000, Infinity),
    draining: fc.boolean(),
    disabled: fc.boolean(),
  });

  it('retries an attempt only if no rule forbids it', () => {
    fc.assert(
      fc.property(anyAttempt, ({ kind, code, reachedServer, retryableHttp, safe, ...rest }) => {
        const decision = decideRetry(
          input({
            ...rest,
            verdict: verdict(kind, { code, reachedServer, retryableHttp }),
            policy: safe ? DEFAULT_RETRY_POLICY : undefined,
          }),
        );
        if (!decision.retry) return;
        expect(rest.requestReplayable && !rest.draining).toBe(true);
        expect(decision.delayMs).toBeLessThan(rest.remainingMs);
        if (decision.kind === 'wait') return;
        expect(rest.attempts).toBeLessThan(DEFAULT_RETRY_POLICY.maxAttempts);
        expect(rest.disabled).toBe(false);
        // Except for a refused call that did not reach the server, a call is retried only if its method is declared safe.
        if (kind !== 'refused' || reachedServer !== 'no') expect(safe).toBe(true);
      }),
    );
  });
});

describe('precedence of reasons', () => {
  it('returns the reason `disabled`, not `pushback`, and does not debit the retry budget if retry is false', () => {
    const budget = new CountingBudget();
    const decision = decideRetry(input({ disabled: true, pushback: STOP, budget }));
    expect(decision).toEqual({ retry: false, because: 'disabled' });
    expect(budget.failures).toBe(0);
  });

  it('returns the reason `pushback` and debits one retry token for a refused call with a pushback that forbids retries', () => {
    const budget = new CountingBudget();
    const decision = decideRetry(input({ verdict: verdict('refused'), pushback: STOP, budget }));
    expect(decision).toEqual({ retry: false, because: 'pushback' });
    expect(budget.failures).toBe(1);
  });

  it('returns the reason `connection-lost` for a response that was cut off before delivery', () => {
    const broken = verdict('committed', { connectionLost: true, reachedServer: 'yes' });
    expect(decideRetry(input({ verdict: broken }))).toMatchObject({ retry: true, because: 'connection-lost' });
  });

  it('applies the retry policy of the method to failed credentials', () => {
    const failed = verdict('local', { credentialsFailed: true });
    const policy = { ...DEFAULT_RETRY_POLICY, maxAttempts: 2, initialBackoffMs: 7, maxBackoffMs: 7 };
    // gRFC A54 replaces NOT_FOUND with INTERNAL here, because only an application may send NOT_FOUND.
    const replaced = verdict('local', { code: StatusCode.INTERNAL, credentialsFailed: true });
    const listed = { ...policy, retryableStatusCodes: new Set([StatusCode.INTERNAL]) };
    expect(decideRetry(input({ verdict: replaced, policy: listed }))).toMatchObject({ because: 'credentials' });
    expect(decideRetry(input({ verdict: failed, policy }))).toMatchObject({ because: 'credentials', delayMs: 7 });
    expect(decideRetry(input({ verdict: failed, policy, attempts: 2 }))).toMatchObject({
      because: 'attempts-exhausted',
    });
  });
});

describe('retry chain', () => {
  it.each([
    ['does not treat a first attempt as a retry', undefined, undefined, false],
    ['does not treat an attempt with zero previous attempts as a retry', '0', undefined, false],
    ['treats a second attempt as a retry', '1', undefined, true],
    ['does not treat an attempt with a malformed number of previous attempts as a retry', 'many', undefined, false],
    ['treats a call with the x-retry-chain value 1 as a retry', undefined, '1', true],
    ['treats a call with an empty x-retry-chain value as a retry', undefined, '', true],
    ['does not treat a hedged attempt as a retry', '2', 'hedge', false],
  ])('%s', (_, previousAttempts, mark, retry) => {
    expect(isRetry(previousAttempts, mark)).toBe(retry);
  });

  it.each([
    ['stops the retries of calls that serve a retried unary call of any age', false, true, 60_000, true],
    ['stops the retries of calls that serve a retried stream in its first 10 s', true, true, 9_999, true],
    ['allows the retries of calls that serve a retried stream after 10 s', true, true, 10_000, false],
    ['allows the retries of calls that serve an inbound call that is not a retry', false, false, 0, false],
  ])('%s', (_, streaming, retry, age, stops) => {
    expect(stopsRetries({ retry, streaming, startedAt: 500 }, 500 + age)).toBe(stops);
  });
});
