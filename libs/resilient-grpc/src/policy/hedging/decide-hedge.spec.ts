import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import type { LostConnection, Verdict, VerdictKind } from '../evidence/classify.js';
import { parsePushback } from '../pushback/parse-pushback.js';
import { A6Throttle, DefaultBudget } from '../throttling/default-budget.js';
import {
  decideHedge,
  type HedgeDecision,
  type HedgeEvent,
  type HedgeGates,
  UNSENT,
  type HedgeState,
  HedgeBudget,
} from './decide-hedge.js';

const { UNAVAILABLE, NOT_FOUND, OK, DEADLINE_EXCEEDED } = StatusCode;
const POLICY = { maxAttempts: 3, hedgingDelayMs: 100, nonFatalStatusCodes: new Set([UNAVAILABLE]) };

function gates(change: Partial<HedgeGates> = {}): HedgeGates {
  return {
    policy: POLICY,
    retries: new DefaultBudget(),
    hedges: new HedgeBudget(),
    remainingMs: Infinity,
    draining: false,
    ...change,
  };
}

const LOST: LostConnection = { connection: {}, acceptsNoStreams: true };

/** Creates a budget that grants every retry and records the lost connection of each requested retry. */
function recordingBudget() {
  const requested: (LostConnection | undefined)[] = [];
  const retries = { onFailure: () => {}, tryRetry: (_: number, lost?: LostConnection) => requested.push(lost) > 0 };
  return { requested, retries };
}

type Ended = Extract<HedgeEvent, { type: 'ended' }>;

function ended(
  at: number,
  kind: VerdictKind,
  change: Partial<Verdict> & { pushback?: string; lostWith?: LostConnection; delivered?: boolean } = {},
): Ended {
  const { pushback, lostWith, delivered = false, ...verdict } = change;
  return {
    type: 'ended',
    at,
    verdict: {
      kind,
      code: kind === 'ok' ? OK : UNAVAILABLE,
      details: '',
      reachedServer: 'maybe',
      retryableHttp: false,
      connectionLost: kind === 'connection-lost',
      ...verdict,
    },
    pushback: parsePushback(pushback === undefined ? [] : [pushback]),
    lostWith,
    delivered,
  };
}

/** Sends the first attempt at 0, then applies `events`. Returns the decisions in order. */
function decisionsAfter(hedgeGates: HedgeGates, ...events: readonly (number | Ended)[]): HedgeDecision[] {
  let state: HedgeState = UNSENT;
  return [0, ...events].map((event) => {
    const decision = decideHedge(state, typeof event === 'number' ? { type: 'due', at: event } : event, hedgeGates);
    state = decision.state;
    return decision;
  });
}

function last(hedgeGates: HedgeGates, ...events: readonly (number | Ended)[]): HedgeDecision {
  return decisionsAfter(hedgeGates, ...events).at(-1)!;
}

describe('hedged call', () => {
  it('always sends the first attempt of a hedged call, even with empty budgets and while draining', () => {
    const retries = new A6Throttle({ maxTokens: 10, tokenRatio: 0.1 });
    for (let i = 0; i < 10; i++) retries.onFailure();
    const decision = last(gates({ retries, hedges: { allows: false, onHedge: () => {} }, draining: true }));
    expect(decision).toMatchObject({ action: 'send', because: 'first', state: { sent: 1, inFlight: 1, dueAt: 100 } });
  });

  it('sends another attempt after each hedging delay without a response, up to maxAttempts', () => {
    const decisions = decisionsAfter(gates(), 100, 200, 300);
    expect(decisions.map(({ action, because }) => [action, because])).toEqual([
      ['send', 'first'],
      ['send', 'slow'],
      ['send', 'slow'],
      ['wait', 'attempts-exhausted'],
    ]);
    expect(decisions.map(({ state }) => state.dueAt)).toEqual([100, 200, Infinity, Infinity]);
  });

  it('sends all attempts at once if the hedging delay is 0', () => {
    const decisions = decisionsAfter(gates({ policy: { ...POLICY, hedgingDelayMs: 0 } }), 0, 0);
    expect(decisions.map(({ action }) => action)).toEqual(['send', 'send', 'send']);
    expect(decisions.map(({ state }) => state.dueAt)).toEqual([0, 0, Infinity]);
  });

  it('sends no hedge before the hedging delay has passed', () => {
    expect(last(gates(), 99)).toMatchObject({ action: 'wait', because: 'not-yet', state: { sent: 1, dueAt: 100 } });
  });

  it('ends a hedged call with the first success', () => {
    expect(last(gates(), 100, ended(120, 'ok'))).toMatchObject({ action: 'win', because: 'success' });
  });

  it('sends the next attempt at once if an attempt fails with a listed code, and restarts the hedging delay', () => {
    const decision = last(gates(), ended(30, 'server'));
    expect(decision).toMatchObject({ action: 'send', because: 'replaces-failed', state: { sent: 2, dueAt: 130 } });
  });

  it('fails a hedged call without further retries if all attempts fail', () => {
    const decisions = decisionsAfter(gates(), ended(10, 'server'), ended(20, 'server'), ended(30, 'server'));
    expect(decisions.map(({ action }) => action)).toEqual(['send', 'send', 'send', 'fail']);
    expect(decisions.at(-1)?.because).toBe('attempts-exhausted');
  });

  it('waits for the hedged attempts in flight if the last attempt fails first', () => {
    const decision = last(gates(), 100, 200, ended(210, 'server', { pushback: '500' }));
    expect(decision).toMatchObject({
      action: 'wait',
      because: 'attempts-exhausted',
      state: { inFlight: 2, dueAt: Infinity },
    });
  });

  it.each<[string, VerdictKind, Parameters<typeof ended>[2], 'fail' | 'send']>([
    ['fails a hedged call after an unlisted status', 'server', { code: NOT_FOUND }, 'fail'],
    ['continues a hedged call after a listed status', 'server', {}, 'send'],
    ['continues a hedged call after a lost connection if UNAVAILABLE is listed', 'connection-lost', {}, 'send'],
    ['continues a hedged call after a REFUSED_STREAM reset if UNAVAILABLE is listed', 'refused', {}, 'send'],
    [
      'continues a hedged call after a status whose original code is listed',
      'connection-lost',
      { code: NOT_FOUND, originalCode: UNAVAILABLE },
      'send',
    ],
    ['continues a hedged call after an attempt timeout', 'attempt-timeout', { code: DEADLINE_EXCEEDED }, 'send'],
    [
      'fails a hedged call after an attempt timeout during the response',
      'attempt-timeout',
      { reachedServer: 'yes' },
      'fail',
    ],
    ['continues a hedged call after an idle timeout', 'stream-idle', {}, 'send'],
    ['fails a hedged call after an idle timeout during the response', 'stream-idle', { reachedServer: 'yes' }, 'fail'],
    ['continues a hedged call after HTTP 503 from a gateway', 'http', { retryableHttp: true }, 'send'],
    ['fails a hedged call after HTTP 404 from a gateway', 'http', { code: StatusCode.UNIMPLEMENTED }, 'fail'],
    [
      'continues a hedged call after a response that was cut off before delivery',
      'committed',
      { connectionLost: true },
      'send',
    ],
    [
      'fails a hedged call after a response that was cut off after delivery',
      'committed',
      { connectionLost: true, delivered: true },
      'fail',
    ],
    ['fails a hedged call after a listed status that followed headers', 'committed', {}, 'fail'],
    ['fails a hedged call after the deadline', 'deadline', {}, 'fail'],
    ['fails a hedged call after a cancellation by the caller', 'cancelled', {}, 'fail'],
    ['fails a hedged call after a local failure', 'local', {}, 'fail'],
    ['fails a hedged call after a serialization failure', 'serialize', {}, 'fail'],
    ['fails a hedged call after a protocol violation', 'protocol', {}, 'fail'],
  ])('%s', (_, kind, change, action) => {
    expect(last(gates(), ended(10, kind, change)).action).toBe(action);
  });

  it('fails a hedged call after a lost connection, a gateway error, or a refused stream if UNAVAILABLE is not listed', () => {
    const strict = { policy: { ...POLICY, nonFatalStatusCodes: new Set<StatusCode>() } };
    expect(last(gates(strict), ended(10, 'connection-lost')).because).toBe('fatal-status');
    expect(last(gates(strict), ended(10, 'http', { retryableHttp: true })).because).toBe('fatal-status');
    expect(last(gates(strict), ended(10, 'refused')).because).toBe('fatal-status');
    expect(last(gates(strict), ended(10, 'committed', { connectionLost: true })).because).toBe('fatal-status');
  });

  it('fails a hedged call after an attempt ends with a fatal status, even if another attempt is in flight', () => {
    expect(last(gates(), 100, ended(110, 'server', { code: NOT_FOUND }))).toMatchObject({ action: 'fail' });
  });

  it('does not count an unsent attempt of a hedged call, and resends the attempt if no other attempt is in flight', () => {
    expect(last(gates(), ended(1, 'unsent'))).toMatchObject({
      action: 'resend',
      because: 'unsent',
      state: { sent: 1 },
    });
    expect(last(gates(), 100, ended(101, 'unsent'))).toMatchObject({
      action: 'wait',
      because: 'in-flight',
      state: { sent: 1, dueAt: 200 },
    });
  });

  it('replaces a failed attempt of a hedged call if the last allowed attempt was never sent', () => {
    const [unsent, failed] = decisionsAfter(gates(), 100, 200, ended(201, 'unsent'), ended(210, 'server')).slice(-2);
    expect(unsent).toMatchObject({ action: 'wait', state: { sent: 2, stopped: undefined, dueAt: Infinity } });
    expect(failed).toMatchObject({ action: 'send', because: 'replaces-failed', state: { sent: 3, inFlight: 2 } });
  });

  it('does not replace a failed attempt of a hedged call after a pushback has stopped further attempts, even if one attempt was not sent', () => {
    const stop = ended(110, 'server', { pushback: '-1' });
    const events = [100, 200, stop, ended(201, 'unsent'), ended(210, 'server')];
    expect(last(gates({ policy: { ...POLICY, maxAttempts: 4 } }), ...events)).toMatchObject({
      action: 'fail',
      because: 'pushback',
    });
  });

  it('replaces a failed hedged attempt during an inbound retry only if the attempt reached no server', () => {
    const inChain = gates({ inRetryChain: true });
    expect(last(inChain, ended(10, 'server'))).toMatchObject({ action: 'fail', because: 'retry-chain' });
    expect(last(inChain, 100, ended(110, 'connection-lost'))).toMatchObject({ action: 'wait', because: 'retry-chain' });
    const rejected = { reachedServer: 'no' } as const;
    expect(last(inChain, 100, ended(110, 'refused', rejected), ended(120, 'refused', rejected))).toMatchObject({
      action: 'send',
    });
  });

  it('fails a hedged call if an attempt is unsent for the eleventh time', () => {
    const unsent = { ...UNSENT, sent: 1, inFlight: 1, unsent: 10 };
    expect(decideHedge(unsent, ended(1, 'unsent'), gates())).toMatchObject({
      action: 'fail',
      because: 'attempts-exhausted',
    });
  });

  it('resends a GOAWAY-rejected attempt of a hedged call once, without counting the attempt again or taking a token', () => {
    const rejected = { reachedServer: 'no' } as const;
    const throttled = gates({ retries: { onFailure: () => {}, tryRetry: () => false } });
    const alone = last(throttled, ended(10, 'refused', rejected));
    expect(alone).toMatchObject({ action: 'resend', because: 'refused', state: { sent: 1, resent: true } });
    const allowed = gates();
    expect(last(allowed, 100, ended(110, 'refused', rejected))).toMatchObject({
      action: 'resend',
      because: 'refused',
      state: { sent: 2, inFlight: 2, dueAt: 200 },
    });
    expect(last(allowed, 100, ended(110, 'refused', rejected), ended(120, 'refused', rejected))).toMatchObject({
      action: 'send',
      because: 'replaces-failed',
      state: { sent: 3 },
    });
  });

  it('sends no further hedge after a resend if an earlier pushback forbade hedges', () => {
    const rejected = { reachedServer: 'no' } as const;
    const decision = last(
      gates({ policy: { ...POLICY, maxAttempts: 5 } }),
      100,
      200,
      ended(210, 'server', { pushback: '-1' }),
      ended(220, 'refused', rejected),
    );
    expect(decision).toMatchObject({ action: 'resend', state: { stopped: 'pushback', dueAt: Infinity, inFlight: 2 } });
  });

  it('resends a hedged attempt whose stream was reset with REFUSED_STREAM only if trustRefused is set', () => {
    const trusted = gates({ trustRefused: true });
    expect(last(trusted, ended(10, 'refused'))).toMatchObject({ action: 'resend', state: { sent: 1 } });
    expect(last(gates(), ended(10, 'refused'))).toMatchObject({ because: 'replaces-failed', state: { sent: 2 } });
  });

  it('delays the next hedged attempt by 1 s if the server sent ENHANCE_YOUR_CALM', () => {
    const overloaded = { overloaded: true, connectionLost: false };
    expect(last(gates(), ended(10, 'connection-lost', overloaded))).toMatchObject({
      action: 'wait',
      state: { dueAt: 1_010 },
    });
  });

  it('sends no hedge after the deadline', () => {
    expect(last(gates({ remainingMs: 0 }), 100)).toMatchObject({ action: 'wait', because: 'deadline' });
  });

  it('sends no hedge while the client drains, but replaces a failed attempt', () => {
    expect(last(gates({ draining: true }), 100)).toMatchObject({ action: 'wait', because: 'draining' });
    expect(last(gates({ draining: true }), ended(10, 'server'))).toMatchObject({ action: 'send' });
  });
});

describe('pushback of a hedged call', () => {
  it('delays the next hedged attempt by exactly the pushback, then restarts the hedging delay', () => {
    const decisions = decisionsAfter(gates(), ended(10, 'server', { pushback: '500' }), 100, 510);
    expect(decisions.map(({ action, state }) => [action, state.dueAt])).toEqual([
      ['send', 100],
      ['wait', 510],
      ['wait', 510],
      ['send', 610],
    ]);
  });

  it('sends the next hedged attempt at once after a pushback of 0 ms', () => {
    expect(last(gates(), ended(10, 'server', { pushback: '0' })).action).toBe('send');
  });

  it.each(['-1', 'soon', '10ms', ''])(
    'stops further attempts of a hedged call after a pushback of %j, and keeps the attempts in flight',
    (pushback) => {
      const decision = last(gates(), 100, ended(110, 'server', { pushback }));
      expect(decision).toMatchObject({ action: 'wait', because: 'pushback', state: { inFlight: 1, dueAt: Infinity } });
      const next = decideHedge(decision.state, ended(120, 'server'), gates());
      expect(next).toMatchObject({ action: 'fail', because: 'pushback' });
      expect(decideHedge(decision.state, ended(120, 'ok'), gates()).action).toBe('win');
    },
  );

  it('keeps the pushback of one server if another hedged attempt fails before the pushback ends', () => {
    const decision = last(gates(), 100, ended(110, 'server', { pushback: '300' }), ended(120, 'server'));
    expect(decision).toMatchObject({ action: 'wait', state: { inFlight: 0, dueAt: 410 } });
    expect(decideHedge(decision.state, { type: 'due', at: 410 }, gates())).toMatchObject({
      action: 'send',
      because: 'replaces-failed',
    });
  });

  it('sends the next hedged attempt exactly when the pushback ends, even if a connection is lost at that time', () => {
    const { requested, retries } = recordingBudget();
    const lost = ended(410, 'connection-lost', { lostWith: LOST });
    const decision = last(gates({ retries }), 100, ended(110, 'server', { pushback: '300' }), lost);
    expect(decision).toMatchObject({ action: 'send', because: 'replaces-failed' });
    expect(requested).toEqual([undefined, LOST]);
  });

  it.each<[string, readonly Ended[]]>([
    ['of a server that is shutting down', [ended(110, 'server', { pushback: '300', lostWith: LOST })]],
    [
      'of another server',
      [ended(110, 'server', { pushback: '300' }), ended(120, 'connection-lost', { lostWith: LOST })],
    ],
  ])(
    'passes the lost connection to the retry budget if a lost hedged attempt is replaced after the pushback %s',
    (_, ends) => {
      const { requested, retries } = recordingBudget();
      expect(last(gates({ retries }), 100, ...ends, 410)).toMatchObject({ action: 'send', because: 'replaces-failed' });
      expect(requested).toEqual([undefined, LOST]);
    },
  );

  it('delays the next hedged attempt until the later of two pushbacks ends', () => {
    const two = [ended(110, 'server', { pushback: '300' }), ended(120, 'server', { pushback: '10' })];
    expect(last(gates(), 100, ...two).state.dueAt).toBe(410);
  });

  it('fails a hedged call if the pushback does not end before the deadline and no other attempt is in flight', () => {
    const pushback = { pushback: '500' };
    const short = gates({ remainingMs: 500 });
    expect(last(short, ended(10, 'server', pushback))).toMatchObject({ action: 'fail', because: 'deadline' });
    expect(last(short, 100, ended(110, 'server', pushback))).toMatchObject({ action: 'wait', because: 'deadline' });
    expect(last(short, ended(300, 'server', { pushback: '400' }))).toMatchObject({
      action: 'wait',
      because: 'not-yet',
      state: { dueAt: 700 },
    });
  });
});

describe('cost of hedges', () => {
  it('stops hedging a call if the throttle has only half of its tokens left', () => {
    const retries = new A6Throttle({ maxTokens: 4, tokenRatio: 0.1 });
    retries.onFailure();
    retries.onFailure();
    const decision = last(gates({ retries }), 100);
    expect(decision).toMatchObject({ action: 'wait', because: 'throttled', state: { dueAt: Infinity } });
    expect(decideHedge(decision.state, { type: 'due', at: 200 }, gates())).toMatchObject({ because: 'throttled' });
  });

  it('debits a retry token for a listed code or a pushback that forbids retries, but not for a fatal code, an overload refusal, or an unsent hedged attempt', () => {
    const cost = (event: Ended): number => {
      const retries = new A6Throttle({ maxTokens: 10, tokenRatio: 0.1 });
      last(gates({ retries }), event);
      return 10 - retries.tokens();
    };
    expect(cost(ended(10, 'server'))).toBe(1);
    expect(cost(ended(10, 'server', { code: NOT_FOUND }))).toBe(0);
    expect(cost(ended(10, 'server', { code: NOT_FOUND, pushback: '-1' }))).toBe(1);
    expect(cost(ended(10, 'overloaded', { pushback: '-1' }))).toBe(0);
    expect(cost(ended(10, 'unsent'))).toBe(0);
    expect(cost(ended(10, 'ok'))).toBe(0);
  });

  it('sends no further attempt of a hedged call after an overloaded server refuses an attempt, but waits for the attempts in flight', () => {
    const refused = ended(150, 'overloaded', { pushback: '-1' });
    expect(last(gates(), refused)).toMatchObject({ action: 'fail', because: 'pushback' });
    expect(last(gates(), 100, refused)).toMatchObject({ action: 'wait', because: 'pushback' });
  });

  it('applies the hedge budget to hedges of slow attempts, not to replacements of failed attempts', () => {
    const hedges = spentBudget();
    expect(last(gates({ hedges }), 100)).toMatchObject({ action: 'wait', because: 'hedge-budget' });
    expect(last(gates({ hedges }), ended(10, 'server'))).toMatchObject({ action: 'send' });

    const full = new HedgeBudget();
    last(gates({ hedges: full }), ended(10, 'server'));
    expect(hedgesLeft(full)).toBe(5);
  });

  it('takes a retry token for each hedge, and for each replacement of an attempt that failed without losing its connection', () => {
    const slow = new DefaultBudget();
    last(gates({ retries: slow }), 100, 200);
    expect(slow.tokens(200)).toBeCloseTo(8, 1);
    const failed = new DefaultBudget();
    last(gates({ retries: failed }), ended(10, 'server'), ended(20, 'server'));
    expect(failed.tokens(20)).toBeCloseTo(8, 1);
  });

  it('takes one token from the hedge budget and one from the retry budget per hedge, and none from either if the other refuses', () => {
    const hedges = new HedgeBudget();
    const retries = new DefaultBudget();
    last(gates({ hedges, retries }), 100);
    expect(retries.tokens(100)).toBe(9);

    last(gates({ hedges: spentBudget(), retries }), 100);
    expect(retries.tokens(100)).toBe(9);

    const throttle = { onFailure: () => {}, tryRetry: () => false };
    last(gates({ hedges, retries: throttle }), 100);
    expect(hedgesLeft(hedges)).toBe(4);
  });

  it('takes one token for all replacements of attempts lost with one connection', () => {
    const retries = new DefaultBudget();
    for (let call = 0; call < 50; call++) {
      const decision = last(gates({ retries }), ended(10, 'connection-lost', { lostWith: LOST }));
      expect(decision.action).toBe('send');
    }
    expect(retries.tokens(10)).toBe(9);
  });
});

describe('hedged call with any history', () => {
  const kinds: VerdictKind[] = ['ok', 'server', 'refused', 'unsent', 'connection-lost', 'cancelled'];
  const step = fc.record({
    afterMs: fc.integer({ min: 0, max: 300 }),
    ends: fc.boolean(),
    kind: fc.constantFrom(...kinds),
    pushback: fc.option(fc.constantFrom('-1', '0', '250', 'x'), { nil: undefined }),
  });

  it('sends at most maxAttempts attempts of a hedged call, sends none after hedging has stopped, and keeps an attempt in flight or due until the call ends', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 2, max: 5 }), (steps, maxAttempts) => {
        const hedgeGates = gates({ policy: { ...POLICY, maxAttempts } });
        let { state } = decideHedge(UNSENT, { type: 'due', at: 0 }, hedgeGates);
        let now = 0;
        let isStopped = false;
        for (const { afterMs, ends, kind, pushback } of steps) {
          now += afterMs;
          if (ends && state.inFlight === 0) continue;
          const event: HedgeEvent = ends
            ? ended(now, kind, { ...(pushback && { pushback }) })
            : { type: 'due', at: now };
          const decision = decideHedge(state, event, hedgeGates);
          ({ state } = decision);
          expect(state.sent).toBeLessThanOrEqual(maxAttempts);
          expect(state.inFlight).toBeGreaterThanOrEqual(0);
          if (isStopped) expect(decision.action).not.toBe('send');
          isStopped = state.stopped !== undefined;
          if (decision.action === 'win' || decision.action === 'fail') return;
          expect(state.inFlight > 0 || state.dueAt < Infinity).toBe(true);
        }
      }),
    );
  });
});

/** Returns the number of hedges that the budget allows now, and uses them up. */
function hedgesLeft(budget: HedgeBudget): number {
  let hedges = 0;
  for (; budget.allows; hedges++) budget.onHedge();
  return hedges;
}

function spentBudget(): HedgeBudget {
  const budget = new HedgeBudget();
  hedgesLeft(budget);
  return budget;
}

describe('HedgeBudget', () => {
  it('starts with a full hedge budget, so that even a client with few calls can hedge', () => {
    expect(hedgesLeft(new HedgeBudget())).toBe(5);
  });

  it('allows exactly one hedge per twenty calls after the first five hedges', () => {
    const budget = spentBudget();
    for (let i = 0; i < 19; i++) budget.onCall();
    expect(budget.allows).toBe(false);
    budget.onCall();
    expect(hedgesLeft(budget)).toBe(1);
  });

  it('saves up at most five hedges', () => {
    const budget = new HedgeBudget();
    for (let i = 0; i < 100; i++) budget.onCall();
    expect(hedgesLeft(budget)).toBe(5);
  });

  it('allows hedges for at most a twentieth of the calls plus five, whatever the order of calls and hedges', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 2_000 }), (events) => {
        const budget = new HedgeBudget();
        let calls = 0;
        let hedges = 0;
        for (const isCall of events) {
          if (isCall) {
            calls++;
            budget.onCall();
          } else if (budget.allows) {
            hedges++;
            budget.onHedge();
          }
        }
        expect(hedges).toBeLessThanOrEqual(0.05 * calls + 5);
      }),
    );
  });
});
