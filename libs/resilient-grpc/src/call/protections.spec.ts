import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../test/unit-support/seeded-random.mjs';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { AddressHistories } from '../channel/connection/address-histories.js';
import { AddressUpdates, type AddressUpdate } from '../channel/connection/address-updates.js';
import { tooManyWaiting } from '../channel/outage/waiting-calls.js';
import type { SubchannelConnection } from '../channel/subchannel/subchannel-connection.js';
import { withAttemptTimeout, withStreamIdleTimeout } from '../client/attempts/staged-attempt.js';
import { messageSource } from '../client/requests/request-source.js';
import { DEFAULT_CLIENT_SETTINGS } from '../client/settings/client-options.js';
import {
  attemptOutcome,
  CircuitBreakerCore,
  DEFAULT_CIRCUIT_BREAKER,
} from '../policy/circuit-breaker/circuit-breaker.js';
import { DEFAULT_MAX_QUEUED, PermitQueue } from '../policy/concurrency/permit-queue.js';
import { DEFAULT_EJECTION } from '../policy/ejection/ejection-policy.js';
import { endpointOutcome, EndpointRecord } from '../policy/ejection/endpoint-record.js';
import { decideEjections, NEVER_EJECTED } from '../policy/ejection/next-ejection.js';
import { SUCCESS, type Verdict } from '../policy/evidence/classify.js';
import { HedgeBudget } from '../policy/hedging/decide-hedge.js';
import { insideGrace, NO_OUTAGE, nextOutage } from '../policy/outage/next-outage.js';
import { OverloadQueue, ServiceTime, type WaitingCall } from '../policy/overload/overload-queue.js';
import { NO_PUSHBACK } from '../policy/pushback/parse-pushback.js';
import { ReleasePace } from '../policy/queue-release/release-pace.js';
import { connectTimeoutMs, earlyReconnectMs } from '../policy/reconnect/reconnect-times.js';
import { ReplayLedger, ReplayLimits } from '../policy/replay/replay-ledger.js';
import { decideRetry, MAX_UNSENT } from '../policy/retry/decide-retry.js';
import { nextSuspicion, NOT_SUSPECTED } from '../policy/suspicion/next-suspicion.js';
import { DefaultBudget } from '../policy/throttling/default-budget.js';
import { StatusCode } from '../status/status-code.js';
import type { Attempt, AttemptListener, AttemptRequest } from './attempt.js';
import type { MethodDescriptor } from './method.js';
import type { ProtectionId } from './protection.js';

/** Returns what was ended, refused, or delayed beyond its rule. */
type Honest = () => readonly string[] | Promise<readonly string[]>;

const GRACE_MS = DEFAULT_CLIENT_SETTINGS.outageGraceMs;
const RESTART_MS = 1_500;

/** Notes harm, of which the first few are enough. */
class Harms {
  readonly all: string[] = [];

  note(isHarmed: boolean, what: string, now: number): void {
    if (isHarmed && this.all.length < 3) this.all.push(`${what} at ${now.toFixed(1)} ms`);
  }
}

/** Calls `call` 10,000 times a second for a minute, and 100 times a second for an hour, in which 100 restarts are. */
function load(call: (now: number, harms: Harms) => void, restart: typeof call = () => undefined): readonly string[] {
  const harms = new Harms();
  for (let number = 0; number < 600_000; number++) call(number / 10, harms);
  for (let number = 0; number < 360_000; number++) {
    const now = 60_000 + 10 * number;
    if (number % 3_600 === 3_599) restart(now, harms);
    call(now, harms);
  }
  return harms.all;
}

/** 100 restarts of a server that is away for 1.5 s: three times a minute, and as often as it is patched in watch mode. */
function restarts(): readonly string[] {
  const harms = new Harms();
  const random = seededRandom(1);
  for (const everyMs of [36_000, 8_500]) {
    let state = NO_OUTAGE;
    for (let restart = 1; restart <= 100; restart++) {
      let at = restart * everyMs;
      const upAt = at + RESTART_MS;
      state = nextOutage(
        state,
        { type: 'connection-ended', at, livedMs: everyMs - RESTART_MS, answered: true },
        GRACE_MS,
      );
      for (let connectAttempts = 1; at < upAt; connectAttempts++) {
        state = nextOutage(state, { type: 'attempt-failed', at }, GRACE_MS);
        harms.note(!insideGrace(state, at), 'calls no longer wait', at);
        const outageMs = at - (state.current?.startedAt ?? at);
        const input = { insideGrace: insideGrace(state, at), wanted: true, outageMs, connectAttempts };
        at += earlyReconnectMs({ ...input, failure: 'refused', lastClosedImmediately: false }, random) ?? Infinity;
      }
      harms.note(at - upAt > 375, `connected ${String(Math.round(at - upAt))} ms late`, at);
      state = nextOutage(state, { type: 'ready', at: upAt }, GRACE_MS);
      state = nextOutage(state, { type: 'answered', at: upAt }, GRACE_MS);
    }
  }
  return harms.all;
}

/** An Observable of 10,000 messages a second, which its consumer takes in the next turn. */
function pushed(): readonly string[] {
  const harms: string[] = [];
  const turns: (() => void)[] = [];
  let push: (message: unknown) => void = () => undefined;
  const pull = (): void => void turns.push(() => source.pull());
  const source = messageSource(
    {
      subscribe: (observer: { next(value: unknown): void }) => {
        push = observer.next.bind(observer);
        return { unsubscribe: () => undefined };
      },
    },
    {
      maxQueuedBytes: 16_777_216,
      encode: (message) => message,
      bytesOf: () => 1_024,
      defer: (task) => void turns.push(task),
      onMessage: pull,
      onEncodedMessage: pull,
      onOverflow: (bytes) => void harms.push(`ended with ${String(bytes)} bytes`),
      onBurst: () => undefined,
      onMessagesEnd: () => undefined,
      onMessagesError: () => undefined,
    },
  );
  source.open?.();
  source.pull();
  for (let message = 0; message < 600_000; message++) {
    push(message);
    for (const task of turns.splice(0)) task();
  }
  return harms;
}

const verdict = (change: Partial<Verdict>): Verdict => ({ ...SUCCESS, ...change });
const NOT_FOUND = verdict({ kind: 'server', code: StatusCode.NOT_FOUND });
const RETRY = {
  pushback: NO_PUSHBACK,
  policy: undefined,
  attempts: 1,
  retriesSincePushback: 0,
  delivered: false,
  requestReplayable: true,
  remainingMs: 10_000,
  draining: false,
  disabled: false,
  lostWith: undefined,
  random: () => 0.5,
};

/** Runs `begin`, and `end` 5 ms later, for each call. */
function overlapping(begin: (now: number, harms: Harms) => (now: number) => void) {
  const running: { readonly endsAt: number; readonly end: (now: number) => void }[] = [];
  let first = 0;
  return (now: number, harms: Harms): void => {
    for (let next = running[first]; next !== undefined && next.endsAt <= now; next = running[++first]) next.end(now);
    if (first > 1_000) {
      running.splice(0, first);
      first = 0;
    }
    running.push({ endsAt: now + 5, end: begin(now, harms) });
  };
}

/** Starts attempts whose transport does nothing. */
function stubbed(listeners: AttemptListener[]) {
  return (_request: AttemptRequest, listener: AttemptListener): Attempt => {
    listeners.push(listener);
    // Safe: no other member is used.
    return { startRead: () => undefined, cancel: () => listeners.splice(0) } as unknown as Attempt;
  };
}

const IGNORE: AttemptListener = { onHeaders: () => undefined, onMessage: () => undefined, onEnd: () => undefined };

/**
 * 'honest-peers': transport/socket/honest-peers.spec.ts drives connections, which have all of these. 'nothing': docs/internals/protections.json
 * says why nothing honest feeds it.
 */
const HONEST: Record<ProtectionId, Honest | 'honest-peers' | 'nothing'> = {
  'protocol-violation': 'honest-peers',
  'header-block': 'honest-peers',
  'header-list': 'honest-peers',
  'frames-without-effect': 'honest-peers',
  'unsent-acknowledgements': 'honest-peers',
  keepalive: 'honest-peers',
  'close-timeout': 'honest-peers',
  'message-size': 'honest-peers',
  inflation: 'honest-peers',
  handshake: 'nothing',
  'tls-renegotiation': 'nothing',
  'foreign-protocol': 'nothing',
  'head-timeout': 'honest-peers',
  'send-timeout': 'honest-peers',
  drain: 'honest-peers',
  'drain-timeout': 'honest-peers',
  'max-connections': 'nothing',
  age: 'honest-peers',
  'age-grace': 'honest-peers',
  idle: 'honest-peers',
  'too-many-pings': 'nothing',
  'concurrent-streams': 'honest-peers',
  'cancelled-streams': 'honest-peers',
  resets: 'honest-peers',
  'unended-request': 'honest-peers',
  'read-turns': 'honest-peers',
  'message-turns': 'honest-peers',
  'memory-refused': 'honest-peers',
  'request-memory': 'honest-peers',
  'memory-shed': 'honest-peers',
  'not-grpc': 'nothing',
  overloaded: () => {
    const serviceTime = new ServiceTime();
    const queue = new OverloadQueue<Waiting>({ maxQueued: Infinity, maxSpeed: 1 });
    return load((now, harms) => {
      harms.note(!queue.add(new Waiting(now + 1_000, now, serviceTime), now), 'refused', now);
      const call = queue.take();
      if (call === undefined || queue.turnOf(call, now) !== 'run') harms.note(true, 'refused', now);
      else queue.served(call, 0.05, now);
      serviceTime.note(0.05);
    });
  },
  'responses-overflow': pushed,
  'concurrency-limit': () =>
    ([100, 'adaptive'] as const).flatMap((maxConcurrent) => {
      const permits = new PermitQueue({ maxConcurrent, maxQueued: DEFAULT_MAX_QUEUED });
      return load(
        overlapping((now, harms) => {
          let isPermitted = false;
          const permitted = (): void => void (isPermitted = true);
          const answer = permits.acquire({ permitted });
          harms.note(answer === 'refused', 'refused', now);
          if (answer === 'permitted') permitted();
          return () => {
            if (isPermitted) permits.release('succeeded', 5);
          };
        }),
      );
    }),
  'stream-idle': () => {
    const clock = new VirtualClock();
    const listeners: AttemptListener[] = [];
    const start = withStreamIdleTimeout(stubbed(listeners), 5_000, clock);
    const attempt = start({} as AttemptRequest, IGNORE);
    return load((now, harms) => {
      attempt.startRead();
      clock.advance(now - clock.now());
      listeners[0]?.onMessage({});
      harms.note(listeners.length === 0, 'cancelled', now);
    });
  },
  outage: restarts,
  'too-many-waiting': () => {
    const harms = new Harms();
    for (let calls = 0; calls < (RESTART_MS / 1_000) * 5_000; calls++)
      harms.note(
        tooManyWaiting(() => '', { calls, bytes: 100 * calls }, 100, DEFAULT_CLIENT_SETTINGS) !== undefined,
        'refused',
        calls,
      );
    return harms.all;
  },
  'circuit-open': () => {
    const breaker = new CircuitBreakerCore(DEFAULT_CIRCUIT_BREAKER, seededRandom(1));
    return load(
      (now, harms) => {
        const admission = breaker.tryAcquire(now);
        if (admission.admitted) breaker.onResult(admission.token, attemptOutcome(NOT_FOUND, breaker.policy), now);
        else harms.note(true, 'rejected', now);
      },
      (now, harms) => {
        const lostWith = { connection: {}, acceptsNoStreams: true };
        for (let call = 0; call < 500; call++) {
          const admission = breaker.tryAcquire(now);
          if (admission.admitted) breaker.onResult(admission.token, 'failure', now, lostWith);
          else harms.note(true, 'rejected', now);
        }
      },
    );
  },
  'attempt-timeout': () => {
    const clock = new VirtualClock();
    const listeners: AttemptListener[] = [];
    const start = withAttemptTimeout(stubbed(listeners), 1_000, clock);
    // Safe: no other field is read.
    const method = { requestStream: true, responseStream: false } as MethodDescriptor;
    const request = { method, deadline: Infinity } as AttemptRequest;
    return load(
      overlapping((now, harms) => {
        clock.advance(now - clock.now());
        start(request, IGNORE);
        harms.note(listeners.length === 0, 'cancelled', now);
        return () => listeners.shift()?.onEnd({} as never);
      }),
    );
  },
  'requests-overflow': pushed,
  throttled: () => {
    const budget = new DefaultBudget();
    return load(
      (now) => {
        budget.onSuccess(now);
        // Of another method, which is slow.
        budget.onDeadline(now, now - 100);
      },
      (now, harms) => {
        const lostWith = { connection: {}, acceptsNoStreams: true };
        for (let call = 0; call < 500; call++) harms.note(!budget.tryRetry(now, lostWith), 'throttled', now);
      },
    );
  },
  'hedge-budget': () => {
    const budget = new HedgeBudget();
    let calls = 0;
    return load((now, harms) => {
      budget.onCall();
      if (++calls % 25 > 0) return;
      harms.note(!budget.allows, 'not hedged', now);
      budget.onHedge();
    });
  },
  'attempts-exhausted': () => {
    const budget = new DefaultBudget();
    const rejected = verdict({ kind: 'refused', reachedServer: 'no', code: StatusCode.UNAVAILABLE });
    const resent = { ...RETRY, verdict: rejected, transparentLeft: true, budget, now: 0 };
    const waiting = verdict({ kind: 'unsent', reachedServer: 'no', code: StatusCode.UNAVAILABLE });
    return load(
      (now, harms) => {
        budget.onSuccess(now);
        resent.now = now;
        harms.note(!decideRetry(resent).retry, 'not resent', now);
      },
      (now, harms) => {
        for (let unsent = 1; unsent <= MAX_UNSENT; unsent++)
          harms.note(!decideRetry({ ...RETRY, verdict: waiting, unsent, budget, now }).retry, 'failed', now);
      },
    );
  },
  'request-not-replayable': () => {
    const { perCall, perClient } = { perCall: 1_048_576, perClient: 16_777_216 };
    const limits = new ReplayLimits(perCall, perClient);
    return load(
      overlapping((now, harms) => {
        harms.note(!limits.take(4_096, 0), 'not kept', now);
        return () => limits.release(4_096);
      }),
    );
  },
  'connect-timeout': () => {
    const histories = new AddressHistories(
      new VirtualClock(),
      () => 0.5,
      () => undefined,
    );
    return load(
      () => undefined,
      (now, harms) => {
        for (let attempt = 0; attempt < 6; attempt++) histories.connectFailed('a:1', false);
        const input = { baseMs: 20_000, timeouts: histories.timeouts('a:1'), graceMs: GRACE_MS, insideGrace: true };
        harms.note(connectTimeoutMs(input) !== 20_000, 'waits longer', now);
      },
    );
  },
  backoff: restarts,
  'hold-off': () => {
    const clock = new VirtualClock();
    const histories = new AddressHistories(
      clock,
      () => 0.5,
      () => undefined,
    );
    // As of a server that serves one call on each connection.
    return load((now, harms) => {
      clock.advance(now - clock.now());
      const connection = { end: 'GOAWAY NO_ERROR', readyAt: now, whenClosed: () => undefined };
      histories.connected('a:1', connection as unknown as SubchannelConnection);
      histories.answered();
      histories.disconnected('a:1');
      harms.note(histories.holdOffMs('a:1') > 0, 'held off', now);
    });
  },
  suspicion: () => {
    // Of a server on which all calls take longer than their deadline: it answers only what is asked of its connection.
    const random = seededRandom(1);
    let state = NOT_SUSPECTED;
    let bytesRead = 0;
    let checkedAt = 0;
    return load((at, harms) => {
      state = nextSuspicion(state, { type: 'timed-out', at, bytesRead, waitedMs: 100 }, random);
      if (at - checkedAt < 250) return;
      checkedAt = at;
      if (state.kind === 'probed') bytesRead += 9;
      state = nextSuspicion(state, { type: 'check', at, bytesRead, late: false, otherReady: true }, random);
      harms.note(!['trusted', 'suspected', 'probed'].includes(state.kind), state.kind, at);
    });
  },
  ejection: () => {
    const random = seededRandom(1);
    const records = Array.from({ length: 3 }, () => new EndpointRecord());
    const wire = { headersReceived: false, messagesReceived: 0, contentType: 'application/grpc', wire: undefined };
    let checkedAt = 0;
    let checks = 0;
    return load(
      (now, harms) => {
        const record = records[Math.floor(random() * records.length)]!;
        const code = random() < 0.01 ? StatusCode.UNAVAILABLE : StatusCode.NOT_FOUND;
        const outcome = endpointOutcome({ ...NOT_FOUND, code }, wire, 5, 5);
        if (outcome !== 'none') record.count(outcome);
        record.addLatency(5 + 20 * random(), now);
        record.respondedAt = now;
        if (now - checkedAt < 250) return;
        checkedAt = now;
        const isOver = ++checks % 4 === 0;
        const views = records.map((one, index) => {
          const unanswered = { count: 1, oldestAt: now };
          return { address: String(index), state: NEVER_EJECTED, isUsable: true, record: one, unanswered };
        });
        const [decision] = decideEjections(views, now, isOver, DEFAULT_EJECTION, random);
        harms.note(decision !== undefined, JSON.stringify(decision), now);
        if (isOver) for (const one of records) one.startInterval();
      },
      () => records[0]!.count('failure'),
    );
  },
  'release-pace': () => {
    const harms = new Harms();
    const waiting = RESTART_MS / 10;
    const floorPerSecond = waiting / 14.25;
    for (let restart = 0; restart < 100; restart++) {
      const demand = { floorPerSecond, deadlinePacePerSecond: floorPerSecond };
      const pace = new ReleasePace({ now: 0, usualCallsPerSecond: 100, demand });
      for (let now = 0, left = waiting; left > 0; now += 10) {
        const released = pace.take(now, left);
        for (let call = 0; call < released; call++) pace.answered(5, 5, now);
        left -= released;
        harms.note(now > RESTART_MS + GRACE_MS, 'still waiting', now);
      }
    }
    return harms.all;
  },
  'window-stall': 'honest-peers',
  'throttled-keepalive': 'nothing',
  'request-headers': 'honest-peers',
  'replay-buffer': () => {
    const ledger = new ReplayLedger<number, string>({ messages: 1_000, bytes: 1_048_576 });
    let id = 0;
    return load(
      overlapping((now, harms) => {
        const own = ++id;
        harms.note(!ledger.fits(100), 'waits', now);
        ledger.add({ id: own, message: '', bytes: 100 });
        ledger.send();
        return () => ledger.acknowledge(own, 'single');
      }),
    );
  },
  'address-updates': () => {
    const clock = new VirtualClock();
    let applied = 0;
    const updates = new AddressUpdates(
      clock,
      () => (applied += 1) > 0,
      () => undefined,
      () => false,
    );
    const config = { getLoadBalancerName: () => 'round_robin' };
    let port = 0;
    return load(
      () => undefined,
      (now, harms) => {
        // A replica goes, and another comes.
        for (let change = 0; change < 2; change++) {
          clock.advance(now + 1_000 * change - clock.now());
          const value = [{ addresses: [{ host: '10.0.0.7', port: ++port }] }];
          const before = applied;
          updates.take(...([{ ok: true, value }, config, {}, ''] as unknown as AddressUpdate));
          harms.note(applied === before, 'delayed', now);
        }
      },
    );
  },
};

/** A call that waits for its handler. */
class Waiting implements WaitingCall<Waiting> {
  weight = 0;
  variance = 0;
  order = 0;
  isRemoved = false;
  previous: Waiting | undefined = undefined;
  next: Waiting | undefined = undefined;

  constructor(
    readonly deadline: number,
    readonly arrivedAt: number,
    readonly serviceTime: ServiceTime,
  ) {}
}

interface Row {
  readonly against: string;
  readonly fedBy: string;
  readonly refill: string;
  readonly attack: readonly [file: string, title: string];
}

const ROOT = new URL('../../../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');

describe('protections', { timeout: 600_000 }, () => {
  // Safe: the first test compares its keys.
  const rows = JSON.parse(read('docs/internals/protections.json')) as Record<ProtectionId, Row>;

  it('each have a row in the table, and a test of the attack', () => {
    expect(Object.keys(rows).sort()).toEqual(Object.keys(HONEST).sort());
    const missing = Object.values(rows).filter(
      ({ attack: [file, title] }) => !read(file).includes(title.replaceAll("'", "\\'")),
    );
    expect(missing).toEqual([]);
  });

  const drives = Object.entries(HONEST).filter((entry): entry is [string, Honest] => typeof entry[1] === 'function');
  it.each(drives)('leave honest peers alone: %s', async (_id, honest) => {
    expect(await honest()).toEqual([]);
  });

  it.each(Object.entries(HONEST).filter(([, honest]) => honest === 'nothing'))(
    'are fed by nothing honest: %s',
    (id) => {
      expect(rows[id as ProtectionId].fedBy).toMatch(/^(nothing|one|two)/);
    },
  );
});
