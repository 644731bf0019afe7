import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import type { LostConnection } from '../evidence/lost-connection.js';
import type { Verdict, VerdictKind } from '../evidence/verdict.js';
import { NO_PUSHBACK, type Pushback } from '../pushback/parse-pushback.js';
import { A6Throttle } from '../throttling/a6-throttle.js';
import { DefaultBudget } from '../throttling/default-budget.js';
import type { RetryBudget } from '../throttling/retry-budget.js';
import { decideRetry, type RetryInput } from './decide-retry.js';
import { DEFAULT_RETRY_POLICY } from './retry-policy.js';

const { UNAVAILABLE, INVALID_ARGUMENT, DEADLINE_EXCEEDED, UNAUTHENTICATED, RESOURCE_EXHAUSTED } = StatusCode;

const LOST: LostConnection = { connection: {}, isOver: true };

/** A budget that grants or refuses everything and counts what it was asked. */
class CountingBudget implements RetryBudget {
  failures = 0;
  readonly asked: (LostConnection | undefined)[] = [];
  constructor(private readonly grants = true) {}
  onSuccess(): void {}
  onDeadline(): void {}
  onFailure(): void {
    this.failures++;
  }
  tryRetry(_now: number, lostWith?: LostConnection): boolean {
    this.asked.push(lostWith);
    return this.grants;
  }
  tokens(): number {
    return 0;
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

/** A safe method whose connection was lost at the first attempt, and nothing that speaks against a retry. */
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
const stop = (because: 'negative' | 'malformed' | 'repeated'): Pushback => ({ kind: 'stop', because });

describe('a call that was never sent', () => {
  it('waits ten times', () => {
    const unsent = verdict('unsent', { reachedServer: 'no' });
    expect(decideRetry(input({ verdict: unsent, unsent: 10 }))).toMatchObject({ retry: true, kind: 'wait' });
    expect(decideRetry(input({ verdict: unsent, unsent: 11 }))).toEqual({
      retry: false,
      because: 'attempts-exhausted',
    });
  });
});

describe('a call that a GOAWAY rejected', () => {
  const rejected = verdict('refused', { reachedServer: 'no' });
  const left = { verdict: rejected, transparentLeft: true };

  it('is resent once at no cost, for any method and whatever is forbidden', () => {
    const budget = new CountingBudget(false);
    const change = { ...left, policy: undefined, disabled: true, attempts: 4, budget };
    expect(decideRetry(input(change))).toEqual({ retry: true, kind: 'wait', delayMs: 0, because: 'refused' });
    expect(budget).toMatchObject({ failures: 0, asked: [] });
  });

  it('then follows the policy of its method', () => {
    expect(decideRetry(input({ verdict: rejected }))).toMatchObject({ kind: 'policy', because: 'refused' });
    const other = { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: new Set([StatusCode.ABORTED]) };
    expect(decideRetry(input({ verdict: rejected, policy: other }))).toEqual({ retry: false, because: 'fatal-status' });
    const two = { ...DEFAULT_RETRY_POLICY, maxAttempts: 2 };
    expect(decideRetry(input({ verdict: rejected, policy: two, attempts: 2 }))).toMatchObject({
      because: 'attempts-exhausted',
    });
  });

  it('is final if the request cannot be sent again', () => {
    const change = { ...left, requestReplayable: false };
    expect(decideRetry(input(change))).toEqual({ retry: false, because: 'request-not-replayable' });
  });
});

describe('a call whose stream was reset with REFUSED_STREAM', () => {
  const refused = { verdict: verdict('refused'), transparentLeft: true };

  it('is not resent unless its method is safe to repeat', () => {
    expect(decideRetry(input({ ...refused, ...unsafe }))).toEqual({ retry: false, because: 'not-safe-to-repeat' });
  });

  it('is retried by the policy of its method', () => {
    expect(decideRetry(input(refused))).toMatchObject({ kind: 'policy', delayMs: 100, because: 'refused' });
  });

  it('is resent once for any method if such resets are trusted', () => {
    const trusted = { ...refused, ...unsafe, trustRefused: true };
    expect(decideRetry(input(trusted))).toMatchObject({ kind: 'wait', because: 'refused' });
    expect(decideRetry(input({ ...trusted, transparentLeft: false }))).toEqual({
      retry: false,
      because: 'not-safe-to-repeat',
    });
  });
});

describe('a status that the library replaces by UNAVAILABLE', () => {
  const lost = verdict('connection-lost', { originalCode: StatusCode.INTERNAL });

  it.each([StatusCode.INTERNAL, StatusCode.UNAVAILABLE])('is retried if the policy lists %i', (code) => {
    const policy = { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: new Set([code]) };
    expect(decideRetry(input({ verdict: lost, policy }))).toMatchObject({ kind: 'policy' });
  });

  it('is final if the policy lists neither', () => {
    const policy = { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: new Set([StatusCode.ABORTED]) };
    expect(decideRetry(input({ verdict: lost, policy }))).toEqual({ retry: false, because: 'fatal-status' });
  });
});

describe('a retry that is due after the end of a drain', () => {
  it('is not made, and takes no token', () => {
    const budget = new CountingBudget();
    expect(decideRetry(input({ drainMs: 100, budget }))).toEqual({ retry: false, because: 'draining' });
    expect(budget.asked).toEqual([]);
    expect(decideRetry(input({ drainMs: 101, budget }))).toMatchObject({ retry: true });
  });
});

describe('a server that asks for less load with ENHANCE_YOUR_CALM', () => {
  const overloaded = { verdict: verdict('connection-lost', { overloaded: true, connectionLost: false }) };

  it('receives the next attempt after 1 s, give or take 20 %', () => {
    expect(decideRetry(input({ ...overloaded, random: () => 0 }))).toMatchObject({ delayMs: 800 });
    expect(decideRetry(input({ ...overloaded, random: () => 0.5 }))).toMatchObject({ delayMs: 1_000 });
  });

  it('receives it later if the policy backs off longer', () => {
    const policy = { ...DEFAULT_RETRY_POLICY, initialBackoffMs: 1_900 };
    expect(decideRetry(input({ ...overloaded, policy }))).toMatchObject({ delayMs: 1_900 });
  });
});

describe('what is sent again', () => {
  it.each<[string, Partial<RetryInput>, object]>([
    [
      'an unsent call waits for the channel, whatever its method',
      { verdict: verdict('unsent'), ...unsafe },
      { kind: 'wait', delayMs: 0, because: 'unsent' },
    ],
    ['an unsent call waits with retry: false too', { verdict: verdict('unsent'), disabled: true }, { kind: 'wait' }],
    [
      'an unsent call waits however many attempts were made',
      { verdict: verdict('unsent'), attempts: 9 },
      { kind: 'wait' },
    ],
    [
      'a rejected call goes again for any method, after the default backoff',
      { verdict: verdict('refused', { reachedServer: 'no' }), ...unsafe },
      { kind: 'policy', delayMs: 100, because: 'refused' },
    ],
    ['a lost call of a safe method goes again', {}, { kind: 'policy', delayMs: 100, because: 'connection-lost' }],
    ['the next wait is twice as long', { attempts: 2, retriesSincePushback: 1 }, { delayMs: 200 }],
    ['a listed status goes again', { verdict: verdict('server') }, { kind: 'policy', because: 'retryable-status' }],
    [
      'HTTP 503 goes again as UNAVAILABLE',
      { verdict: verdict('http', { retryableHttp: true }) },
      { because: 'retryable-http' },
    ],
    [
      'an attempt timeout goes again without DEADLINE_EXCEEDED in the list',
      { verdict: verdict('attempt-timeout', { code: DEADLINE_EXCEEDED }) },
      { because: 'attempt-timeout' },
    ],
    ['an idle stream goes again', { verdict: verdict('stream-idle') }, { kind: 'policy', because: 'stream-idle' }],
    [
      'credentials that failed with a listed code go again',
      { verdict: verdict('local', { details: 'Getting metadata from plugin failed with error: down' }) },
      { kind: 'policy', because: 'credentials' },
    ],
    [
      'a pushback replaces the backoff, to the millisecond',
      { verdict: verdict('server'), pushback: { kind: 'delay', ms: 777 }, retriesSincePushback: 3 },
      { delayMs: 777, because: 'pushback' },
    ],
    [
      'a call that serves a retry waits for the channel all the same',
      { inRetryChain: true, verdict: verdict('unsent', { reachedServer: 'no' }) },
      { kind: 'wait' },
    ],
    [
      'a refused call that serves a retry goes again, as no server saw it',
      { inRetryChain: true, verdict: verdict('refused', { reachedServer: 'no' }) },
      { kind: 'policy' },
    ],
    ['a wait that ends before the deadline is begun', { remainingMs: 101 }, { delayMs: 100 }],
  ])('%s', (_, change, expected) => {
    expect(decideRetry(input(change))).toMatchObject({ retry: true, ...expected });
  });
});

describe('what is not sent again', () => {
  it.each<[string, Partial<RetryInput>, string]>([
    ['a success', { verdict: verdict('ok') }, 'success'],
    ['what the caller cancelled', { verdict: verdict('cancelled') }, 'cancelled'],
    ['what is over its deadline', { verdict: verdict('deadline') }, 'deadline'],
    ['what was committed', { verdict: verdict('committed') }, 'committed'],
    [
      'what broke off when part of it was delivered',
      { verdict: verdict('committed', { connectionLost: true }), delivered: true },
      'committed',
    ],
    [
      'what broke off within the one answer of a method that is not safe',
      { verdict: verdict('committed', { connectionLost: true }), policy: undefined },
      'not-safe-to-repeat',
    ],
    [
      'an attempt timeout after headers',
      { verdict: verdict('attempt-timeout', { reachedServer: 'yes' }) },
      'committed',
    ],
    ['an idle stream after headers', { verdict: verdict('stream-idle', { reachedServer: 'yes' }) }, 'committed'],
    ['an answer that broke the rules', { verdict: verdict('protocol') }, 'protocol'],
    ['a request that cannot be written', { verdict: verdict('serialize') }, 'local'],
    ['a request that is too large', { verdict: verdict('local', { code: RESOURCE_EXHAUSTED }) }, 'local'],
    ['what failed here with UNAVAILABLE', { verdict: verdict('local', { details: 'not today' }) }, 'local'],
    [
      'credentials that failed with a code that is not listed',
      {
        verdict: verdict('local', {
          code: UNAUTHENTICATED,
          details: 'Getting metadata from plugin failed with error: no',
        }),
      },
      'local',
    ],
    [
      'credentials that failed for a method that is not safe',
      { verdict: verdict('local', { details: 'Getting metadata from plugin failed with error: no' }), ...unsafe },
      'local',
    ],
    ['a status that is not listed', { verdict: verdict('server', { code: INVALID_ARGUMENT }) }, 'fatal-status'],
    [
      'a status that no policy would list',
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
      'HTTP 503 where UNAVAILABLE is not listed',
      {
        verdict: verdict('http', { retryableHttp: true }),
        policy: { ...DEFAULT_RETRY_POLICY, retryableStatusCodes: new Set([RESOURCE_EXHAUSTED]) },
      },
      'fatal-status',
    ],
    [
      'what a server does not want, by a negative pushback',
      { verdict: verdict('server'), pushback: stop('negative') },
      'pushback',
    ],
    [
      'what a server does not want, by a pushback that cannot be read',
      { verdict: verdict('server'), pushback: stop('malformed') },
      'pushback',
    ],
    [
      'what a server does not want, by two pushbacks',
      { verdict: verdict('server'), pushback: stop('repeated') },
      'pushback',
    ],
    ['what no budget allows', { budget: new CountingBudget(false) }, 'throttled'],
    [
      'a refused call that no budget allows',
      { verdict: verdict('refused'), budget: new CountingBudget(false) },
      'throttled',
    ],
    ['the fourth attempt of four', { attempts: 4 }, 'attempts-exhausted'],
    [
      'the fourth attempt of four, pushback or not',
      { attempts: 4, verdict: verdict('server'), pushback: { kind: 'delay', ms: 0 } },
      'attempts-exhausted',
    ],
    [
      'a call refused for the fourth time',
      { attempts: 4, verdict: verdict('refused', { reachedServer: 'no' }), ...unsafe },
      'attempts-exhausted',
    ],
    ['what would wait until its deadline', { remainingMs: 100 }, 'deadline'],
    [
      'what is pushed back beyond its deadline',
      { verdict: verdict('server'), pushback: { kind: 'delay', ms: 5_000 }, remainingMs: 4_000 },
      'deadline',
    ],
    ['an unsent call without any time left', { verdict: verdict('unsent'), remainingMs: 0 }, 'deadline'],
    ['anything while draining', { draining: true }, 'draining'],
    ['an unsent call while draining', { verdict: verdict('unsent'), draining: true }, 'draining'],
    ['anything after retry: false', { disabled: true }, 'disabled'],
    ['a refused call after retry: false', { verdict: verdict('refused'), disabled: true }, 'disabled'],
    ['a request that is gone', { requestReplayable: false }, 'request-not-replayable'],
    [
      'an unsent request that is gone',
      { verdict: verdict('unsent'), requestReplayable: false },
      'request-not-replayable',
    ],
    [
      'a fatal status, though the request is gone too',
      { verdict: verdict('server', { code: INVALID_ARGUMENT }), requestReplayable: false },
      'fatal-status',
    ],
    ['a lost call that serves a retry', { inRetryChain: true }, 'retry-chain'],
    ['an answer to a call that serves a retry', { inRetryChain: true, verdict: verdict('server') }, 'retry-chain'],
    [
      'an attempt that took too long for a retry',
      { inRetryChain: true, verdict: verdict('attempt-timeout') },
      'retry-chain',
    ],
    ['a pushback for a call that serves a retry', { inRetryChain: true, pushback: stop('negative') }, 'pushback'],
    ['the last attempt of a call that serves a retry', { inRetryChain: true, attempts: 4 }, 'attempts-exhausted'],
  ])('%s', (_, change, because) => {
    expect(decideRetry(input(change))).toEqual({ retry: false, because });
  });

  it('allocates nothing for a success', () => {
    expect(decideRetry(input({ verdict: verdict('ok') }))).toBe(decideRetry(input({ verdict: verdict('ok') })));
  });
});

describe('what is debited', () => {
  it.each<[string, Partial<RetryInput>, number]>([
    ['a listed status', { verdict: verdict('server') }, 1],
    ['the last failure of an exhausted call', { attempts: 4 }, 1],
    ['a refused call', { verdict: verdict('refused') }, 1],
    ['a call that serves a retry', { inRetryChain: true }, 1],
    [
      'a pushback that stops, though the code is not listed',
      { verdict: verdict('server', { code: INVALID_ARGUMENT }), pushback: stop('negative') },
      1,
    ],
    [
      'a pushback that stops a method without a policy',
      { verdict: verdict('server'), pushback: stop('malformed'), ...unsafe },
      1,
    ],
    ['not: a status that is not listed', { verdict: verdict('server', { code: INVALID_ARGUMENT }) }, 0],
    ['not: a success', { verdict: verdict('ok') }, 0],
    ['not: a committed failure', { verdict: verdict('committed') }, 0],
    ['not: a wait', { verdict: verdict('unsent') }, 0],
    ['not: a call with retry: false', { disabled: true }, 0],
    ['not: a request that is gone', { requestReplayable: false, pushback: stop('negative') }, 0],
  ])('%s', (_, change, failures) => {
    const budget = new CountingBudget();
    decideRetry(input({ ...change, budget }));
    expect(budget.failures).toBe(failures);
  });

  it('names the connection that took the attempt along', () => {
    const budget = new CountingBudget();
    decideRetry(input({ budget }));
    decideRetry(input({ budget, verdict: verdict('server'), lostWith: undefined }));
    expect(budget.asked).toEqual([LOST, undefined]);
  });

  it.each<[string, Partial<RetryInput>]>([
    ['exhausted', { attempts: 4 }],
    ['draining', { draining: true }],
    ['too late', { remainingMs: 1 }],
    ['waiting for the channel', { verdict: verdict('unsent') }],
  ])('takes no token of a call that is %s', (_, change) => {
    const budget = new DefaultBudget();
    decideRetry(input({ ...change, budget }));
    expect(budget.tokens(0)).toBe(10);
  });

  it('stops a storm of failures after half of an A6 throttle', () => {
    const budget = new A6Throttle({ maxTokens: 10, tokenRatio: 0.1 });
    const decisions = Array.from({ length: 6 }, () => decideRetry(input({ budget, verdict: verdict('server') })));
    expect(decisions.map(({ retry }) => retry)).toEqual([true, true, true, true, false, false]);
  });
});

describe('any failed attempt', () => {
  const kinds: VerdictKind[] = [
    'ok',
    'unsent',
    'local',
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
  const any = fc.record({
    kind: fc.constantFrom(...kinds),
    reachedServer: fc.constantFrom<Verdict['reachedServer'][]>('no', 'maybe', 'yes'),
    code: fc.constantFrom(...Object.values(StatusCode)),
    retryableHttp: fc.boolean(),
    pushback: fc.constantFrom<Pushback[]>(NO_PUSHBACK, { kind: 'delay', ms: 50 }, stop('negative')),
    safe: fc.boolean(),
    attempts: fc.integer({ min: 1, max: 6 }),
    requestReplayable: fc.boolean(),
    remainingMs: fc.constantFrom(0, 90, 1_000, Infinity),
    draining: fc.boolean(),
    disabled: fc.boolean(),
  });

  it('is sent again only when nothing forbids it', () => {
    fc.assert(
      fc.property(any, ({ kind, code, reachedServer, retryableHttp, safe, ...rest }) => {
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
        // The second law: what the application may have seen is repeated only if that is declared safe.
        if (kind !== 'refused' || reachedServer !== 'no') expect(safe).toBe(true);
      }),
    );
  });
});

describe('reasons, and what they cost', () => {
  it('of `retry: false` come before those of a pushback, and cost nothing', () => {
    const budget = new CountingBudget();
    const decision = decideRetry(input({ disabled: true, pushback: stop('negative'), budget }));
    expect(decision).toEqual({ retry: false, because: 'disabled' });
    expect(budget.failures).toBe(0);
  });

  it('of a request handed back with a pushback that stops are the pushback, for one token', () => {
    const budget = new CountingBudget();
    const decision = decideRetry(input({ verdict: verdict('refused'), pushback: stop('negative'), budget }));
    expect(decision).toEqual({ retry: false, because: 'pushback' });
    expect(budget.failures).toBe(1);
  });

  it('of a break within an answer nobody saw are a lost connection', () => {
    const broken = verdict('committed', { connectionLost: true, reachedServer: 'yes' });
    expect(decideRetry(input({ verdict: broken }))).toMatchObject({ retry: true, because: 'connection-lost' });
  });

  it('of failed credentials go by the policy of the method', () => {
    const failed = verdict('local', { details: 'Getting metadata from plugin failed with error: x' });
    const policy = { ...DEFAULT_RETRY_POLICY, maxAttempts: 2, initialBackoffMs: 7, maxBackoffMs: 7 };
    // gRFC A54 replaces codes that only an application may send.
    const replaced = verdict('local', {
      code: StatusCode.INTERNAL,
      details: 'Invalid status from control plane: 5 NOT_FOUND Getting metadata from plugin failed with error: x',
    });
    const listed = { ...policy, retryableStatusCodes: new Set([StatusCode.INTERNAL]) };
    expect(decideRetry(input({ verdict: replaced, policy: listed }))).toMatchObject({ because: 'credentials' });
    expect(decideRetry(input({ verdict: failed, policy }))).toMatchObject({ because: 'credentials', delayMs: 7 });
    expect(decideRetry(input({ verdict: failed, policy, attempts: 2 }))).toMatchObject({
      because: 'attempts-exhausted',
    });
  });
});
