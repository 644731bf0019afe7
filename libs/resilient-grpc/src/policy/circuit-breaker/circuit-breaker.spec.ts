import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import {
  type AttemptOutcome,
  type CircuitToken,
  DEFAULT_CIRCUIT_BREAKER as DEFAULT,
  CircuitBreakerCore,
  type CircuitTransition,
  attemptOutcome,
  DEFAULT_CIRCUIT_BREAKER,
} from './circuit-breaker.js';
import { StatusCode } from '../../status/status-code.js';
import type { VerdictKind } from '../evidence/classify.js';

const drawMiddle = () => 0.5;
/** With jitter. */
const LONGEST_BREAK_MS = 36_000;

function make(over = {}, random = drawMiddle) {
  const transitions: CircuitTransition[] = [];
  const breaker = new CircuitBreakerCore({ ...DEFAULT, ...over }, random, (transition) => transitions.push(transition));
  return { breaker, transitions };
}

function acquire(breaker: CircuitBreakerCore, now: number): CircuitToken {
  const admission = breaker.tryAcquire(now);
  if (!admission.admitted) throw new Error(`rejected at ${now} ms; retryAfterMs: ${admission.retryAfterMs}`);
  return admission.token;
}

function attempt(breaker: CircuitBreakerCore, outcome: AttemptOutcome, now: number, times = 1): void {
  for (let i = 0; i < times; i++) breaker.onResult(acquire(breaker, now), outcome, now);
}

/** Creates a breaker that opened at time 0 for 5 s. */
function makeOpened(over = {}) {
  const made = make(over);
  attempt(made.breaker, 'failure', 0, 20);
  return made;
}

/** Creates a connection that stays open while its streams are reset. */
const makeOpenConnection = () => ({ connection: {}, acceptsNoStreams: false });

describe('closed circuit', () => {
  it('opens the circuit if half of the attempts fail and at least 20 attempts have ended', () => {
    const { breaker, transitions } = make();
    attempt(breaker, 'success', 0, 10);
    attempt(breaker, 'failure', 0, 9);
    expect(breaker.state).toBe('closed');
    attempt(breaker, 'failure', 0);
    expect(breaker.state).toBe('open');
    expect(transitions).toEqual([
      { from: 'closed', to: 'open', reason: 'too-many-failures', failures: 10, total: 20, breakMs: 5_000 },
    ]);
  });

  it('keeps the circuit closed below 20 attempts even if all fail, and opens it later when half of the attempts have failed', () => {
    const { breaker } = make();
    attempt(breaker, 'failure', 0, 19);
    expect(breaker.state).toBe('closed');
    attempt(breaker, 'success', 0, 20);
    expect(breaker.state).toBe('closed');
    attempt(breaker, 'failure', 0);
    expect(breaker.state).toBe('open');
  });

  it('does not open the circuit on a success that reaches the minimum throughput', () => {
    const { breaker } = make();
    attempt(breaker, 'failure', 0, 19);
    attempt(breaker, 'success', 0, 10);
    expect(breaker.state).toBe('closed');
  });

  it('drops attempts that are older than the sampling time of the circuit breaker', () => {
    const { breaker } = make();
    attempt(breaker, 'failure', 0, 19);
    attempt(breaker, 'failure', 10_000);
    expect(breaker.state).toBe('closed');
  });

  it('does not count ignored attempts in the circuit breaker', () => {
    const { breaker } = make();
    attempt(breaker, 'ignored', 0, 100);
    attempt(breaker, 'failure', 0, 19);
    expect(breaker.state).toBe('closed');
    attempt(breaker, 'failure', 0);
    expect(breaker.state).toBe('open');
  });

  it('counts attempts lost on one open connection within 250 ms as one failure, and counts later losses and other connections separately', () => {
    const { breaker, transitions } = make({ minimumThroughput: 3 });
    const tokens = Array.from({ length: 512 }, () => acquire(breaker, 0));
    const [a, b] = [makeOpenConnection(), makeOpenConnection()];
    for (const token of tokens) breaker.onResult(token, 'failure', 100, a);
    expect(breaker.state).toBe('closed');
    breaker.onResult(acquire(breaker, 200), 'failure', 200, b);
    breaker.onResult(acquire(breaker, 350), 'failure', 350, a);
    expect(breaker.state).toBe('closed');
    breaker.onResult(acquire(breaker, 351), 'failure', 351, a);
    expect(transitions.map(({ total }) => total)).toEqual([3]);
  });

  it('counts all attempts lost with a closed connection as one failure, regardless of the time between them', () => {
    const { breaker } = make({ minimumThroughput: 2 });
    const ended = { connection: {}, acceptsNoStreams: true };
    for (const now of [100, 400, 1_400]) breaker.onResult(acquire(breaker, now), 'failure', now, ended);
    expect(breaker.state).toBe('closed');
    breaker.onResult(acquire(breaker, 1_500), 'failure', 1_500);
    expect(breaker.state).toBe('open');
  });
});

describe('open circuit', () => {
  it('rejects attempts while the circuit is open, and returns the remaining time', () => {
    const { breaker } = makeOpened();
    expect(breaker.tryAcquire(0)).toEqual({ admitted: false, retryAfterMs: 5_000 });
    expect(breaker.tryAcquire(4_999)).toEqual({ admitted: false, retryAfterMs: 1 });
  });

  it.each([
    [0, 4_000],
    [0.5, 5_000],
    [1, 6_000],
  ])('keeps the circuit open for 5 s ±1 s (random number: %d, duration: %d ms)', (chance, ms) => {
    const { breaker, transitions } = make({}, () => chance);
    attempt(breaker, 'failure', 0, 20);
    expect(transitions[0]?.breakMs).toBeCloseTo(ms);
  });
});

describe('half-open circuit', () => {
  it('admits one circuit breaker probe after the break, rejects other attempts, and returns the time until the probe times out', () => {
    const { breaker } = makeOpened();
    acquire(breaker, 5_000);
    expect(breaker.state).toBe('half-open');
    expect(breaker.tryAcquire(5_100)).toEqual({ admitted: false, retryAfterMs: 4_900 });
  });

  it('closes the circuit after a successful probe, and resets the counts', () => {
    const { breaker, transitions } = makeOpened();
    attempt(breaker, 'success', 5_000);
    expect(breaker.state).toBe('closed');
    attempt(breaker, 'failure', 5_000, 19);
    expect(breaker.state).toBe('closed');
    const sample = { failures: 20, total: 20 };
    expect(transitions).toEqual([
      { from: 'closed', to: 'open', reason: 'too-many-failures', ...sample, breakMs: 5_000 },
      { from: 'open', to: 'half-open', reason: 'break-over', ...sample, breakMs: 0 },
      { from: 'half-open', to: 'closed', reason: 'probe-succeeded', ...sample, breakMs: 0 },
    ]);
  });

  it('doubles the break of the circuit after each failed probe, up to 30 s, and resets it to 5 s after the circuit has closed', () => {
    const { breaker, transitions } = makeOpened();
    let now = 0;
    const next = (): void => {
      now += transitions.at(-1)?.breakMs ?? 0;
    };
    for (let i = 0; i < 4; i++) {
      next();
      attempt(breaker, 'failure', now);
    }
    const breaks = () => transitions.filter(({ to }) => to === 'open').map(({ breakMs }) => breakMs);
    expect(breaks()).toEqual([5_000, 10_000, 20_000, 30_000, 30_000]);
    expect(transitions.at(-1)).toMatchObject({ from: 'half-open', reason: 'probe-failed' });
    next();
    attempt(breaker, 'success', now);
    attempt(breaker, 'failure', now, 20);
    expect(breaks().at(-1)).toBe(5_000);
  });

  it('releases the permit of a half-open circuit if its probe is cancelled', () => {
    const { breaker, transitions } = makeOpened();
    attempt(breaker, 'ignored', 5_000);
    expect(breaker.state).toBe('half-open');
    attempt(breaker, 'success', 5_001);
    expect(breaker.state).toBe('closed');
    expect(transitions).toHaveLength(3);
  });

  it('releases the permit of a half-open circuit if its probe hangs', () => {
    const { breaker } = makeOpened();
    acquire(breaker, 5_000);
    expect(breaker.tryAcquire(9_999).admitted).toBe(false);
    expect(breaker.tryAcquire(10_000).admitted).toBe(true);
    expect(breaker.tryAcquire(10_001)).toEqual({ admitted: false, retryAfterMs: 4_999 });
  });

  it.each(['success', 'failure'] as const)(
    'accepts the late outcome %s of a circuit breaker probe that hung',
    (outcome) => {
      const { breaker } = makeOpened();
      const hung = acquire(breaker, 5_000);
      acquire(breaker, 10_000);
      breaker.onResult(hung, outcome, 11_000);
      expect(breaker.state).toBe(outcome === 'success' ? 'closed' : 'open');
    },
  );

  it('keeps the permit of the current circuit breaker probe if an earlier probe that hung is cancelled', () => {
    const { breaker } = makeOpened();
    const hung = acquire(breaker, 5_000);
    acquire(breaker, 10_000);
    breaker.onResult(hung, 'ignored', 11_000);
    expect(breaker.tryAcquire(11_000).admitted).toBe(false);
  });

  it.each(['success', 'failure', 'ignored'] as const)(
    'ignores the late outcome %s of an attempt admitted before the circuit opened',
    (outcome) => {
      const { breaker } = make();
      const late = acquire(breaker, 0);
      attempt(breaker, 'failure', 0, 20);
      acquire(breaker, 5_000);
      breaker.onResult(late, outcome, 5_001);
      expect(breaker.state).toBe('half-open');
      expect(breaker.tryAcquire(5_002).admitted).toBe(false);
    },
  );

  it('ignores circuit breaker probes of an earlier half-open period', () => {
    const { breaker } = makeOpened();
    const hung = acquire(breaker, 5_000);
    attempt(breaker, 'failure', 10_000);
    acquire(breaker, 20_000);
    breaker.onResult(hung, 'success', 20_001);
    expect(breaker.state).toBe('half-open');
  });
});

describe('reclosed circuit', () => {
  it('ignores attempts that were admitted before the circuit closed again', () => {
    const { breaker } = make();
    const early = Array.from({ length: 100 }, () => acquire(breaker, 0));
    attempt(breaker, 'failure', 0, 20);
    const hung = acquire(breaker, 5_000);
    attempt(breaker, 'success', 10_000);
    for (const token of [...early, hung]) breaker.onResult(token, 'failure', 10_001);
    expect(breaker.state).toBe('closed');
    attempt(breaker, 'failure', 10_001, 19);
    expect(breaker.state).toBe('closed');
  });
});

describe('circuit with any history', () => {
  it('admits another circuit breaker probe only after the current one ends or times out, and always admits an attempt after the longest break', () => {
    const step = fc.record({
      afterMs: fc.integer({ min: 0, max: 2_000 }),
      outcome: fc.constantFrom<AttemptOutcome | 'none'>('success', 'failure', 'failure', 'ignored', 'none'),
      which: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer(), (steps, seed) => {
        const policy = { ...DEFAULT, minimumThroughput: 4 };
        const breaker = new CircuitBreakerCore(policy, seededRandom(seed));
        const out: CircuitToken[] = [];
        let now = 0;
        let probe: { token: CircuitToken; at: number } | undefined;
        for (const { afterMs, outcome, which } of steps) {
          now += afterMs;
          const admission = breaker.tryAcquire(now);
          if (admission.admitted) {
            out.push(admission.token);
            if (breaker.state === 'half-open') {
              if (probe !== undefined) expect(now - probe.at).toBeGreaterThanOrEqual(policy.breakDurationMs);
              probe = { token: admission.token, at: now };
            } else probe = undefined;
          } else {
            expect(admission.retryAfterMs).toBeGreaterThan(0);
            expect(admission.retryAfterMs).toBeLessThanOrEqual(LONGEST_BREAK_MS);
          }
          if (outcome === 'none' || out.length === 0) continue;
          const [token] = out.splice(which % out.length, 1);
          breaker.onResult(token!, outcome, now);
          if (token === probe?.token || breaker.state !== 'half-open') probe = undefined;
        }
        expect(breaker.tryAcquire(now + LONGEST_BREAK_MS).admitted).toBe(true);
      }),
    );
  });
});

const { UNAVAILABLE, NOT_FOUND, DEADLINE_EXCEEDED, INTERNAL, OK, UNIMPLEMENTED } = StatusCode;

describe('attemptOutcome', () => {
  it.each<[string, VerdictKind, StatusCode, AttemptOutcome, { connectionLost?: true; retryableHttp?: true }?]>([
    ['a response as a success', 'ok', OK, 'success'],
    ['an unlisted status as a success', 'server', NOT_FOUND, 'success'],
    ['a listed status as a failure', 'server', UNAVAILABLE, 'failure'],
    ['a listed status after headers as a failure', 'committed', UNAVAILABLE, 'failure'],
    ['an unlisted status after headers as a success', 'committed', INTERNAL, 'success'],
    ['a lost connection as a failure', 'connection-lost', UNAVAILABLE, 'failure'],
    ['a connection lost during the response as a failure', 'committed', INTERNAL, 'failure', { connectionLost: true }],
    ['a request that was rejected unprocessed as a failure', 'refused', INTERNAL, 'failure'],
    ['an attempt timeout as a failure', 'attempt-timeout', INTERNAL, 'failure'],
    ['an idle stream as a failure', 'stream-idle', INTERNAL, 'failure'],
    ['a transient HTTP status from a gateway as a failure', 'http', INTERNAL, 'failure', { retryableHttp: true }],
    ['HTTP 404 from a gateway as a success', 'http', UNIMPLEMENTED, 'success'],
    ['an exceeded deadline as a failure if DEADLINE_EXCEEDED is listed', 'deadline', DEADLINE_EXCEEDED, 'failure'],
    ['a protocol violation with an unlisted status as a success', 'protocol', INTERNAL, 'success'],
    ['a cancelled call as ignored', 'cancelled', UNAVAILABLE, 'ignored'],
    ['an unsent call as ignored', 'unsent', UNAVAILABLE, 'ignored'],
    ['a local failure as ignored', 'local', UNAVAILABLE, 'ignored'],
    ['a serialization failure as ignored', 'serialize', UNAVAILABLE, 'ignored'],
  ])('classifies %s for the circuit breaker', (_, kind, code, outcome, over) => {
    const verdict = { kind, code, connectionLost: false, retryableHttp: false, ...over };
    expect(attemptOutcome(verdict, DEFAULT_CIRCUIT_BREAKER)).toBe(outcome);
  });

  it('ignores an exceeded deadline for the circuit breaker if DEADLINE_EXCEEDED is not listed', () => {
    const verdict = { kind: 'deadline', code: DEADLINE_EXCEEDED, connectionLost: false, retryableHttp: false } as const;
    expect(attemptOutcome(verdict, { statusCodes: new Set([UNAVAILABLE]) })).toBe('ignored');
  });

  it('counts OK as a success for the circuit breaker even if it is listed', () => {
    const verdict = { kind: 'protocol', code: OK, connectionLost: false, retryableHttp: false } as const;
    expect(attemptOutcome(verdict, { statusCodes: new Set([OK]) })).toBe('success');
  });
});
