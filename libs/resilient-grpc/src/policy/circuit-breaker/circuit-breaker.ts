import * as v from 'valibot';
import { type Random, jitter } from '../../time/random.js';
import { RollingCount } from '../../time/rolling-count.js';
import type { LostConnection, Verdict } from '../evidence/classify.js';
import { LostTogether } from '../throttling/lost-together.js';
import { StatusCode, type StatusName } from '../../status/status-code.js';
import {
  integer,
  millisecondsOrNone,
  object,
  positive,
  positiveMilliseconds,
  statusCodes,
} from '../options/option-schemas.js';

/** Options of a circuit breaker. */
export interface CircuitBreakerOptions {
  /** Share of failed attempts at which the circuit opens; greater than 0, at most 1. @defaultValue 0.5 */
  readonly failureRatio?: number | undefined;
  /** Minimum number of attempts within the sampling time before the circuit can open; 1 or more. @defaultValue 20 */
  readonly minimumThroughput?: number | undefined;
  /** Sampling time in milliseconds; 100 or more. Choose at least twice `attemptTimeoutMs`. @defaultValue 10000 */
  readonly samplingDurationMs?: number | undefined;
  /**
   * Time in milliseconds for which an open circuit rejects attempts before it admits a probe; above 0. Doubles with each failed probe, up
   * to 30,000 or this value, whichever is greater. Jittered by ±20%, so that the clients of a fleet do not all probe at once.
   * @defaultValue 5000
   */
  readonly breakDurationMs?: number | undefined;
  /**
   * Status codes that count as failures. Lost connections, requests rejected by the server's transport, attempt timeouts, idle
   * streams, and transient HTTP errors from a gateway always count.
   * @defaultValue ['UNAVAILABLE', 'DEADLINE_EXCEEDED']
   */
  readonly statusCodes?: readonly StatusName[] | undefined;
}

export interface CircuitBreakerPolicy {
  readonly failureRatio: number;
  readonly minimumThroughput: number;
  readonly samplingDurationMs: number;
  /** Time in milliseconds of the first break, and time after which a probe without a result loses its permit to the next attempt. */
  readonly breakDurationMs: number;
  readonly statusCodes: ReadonlySet<StatusCode>;
}

/**
 * Default options. INTERNAL and UNKNOWN are not listed, because servers use them for errors in a single request. RESOURCE_EXHAUSTED is not
 * listed, because it may mean that a single user exceeded a quota.
 */
export const DEFAULT_CIRCUIT_BREAKER: CircuitBreakerPolicy = {
  failureRatio: 0.5,
  minimumThroughput: 20,
  samplingDurationMs: 10_000,
  breakDurationMs: 5_000,
  statusCodes: new Set<StatusCode>([14, 4]),
};

const { failureRatio, minimumThroughput, samplingDurationMs, breakDurationMs } = DEFAULT_CIRCUIT_BREAKER;

/** Schema of a circuit breaker's options; completes them with the defaults. A null value means the default. */
export const circuitBreakerSchema = v.pipe(
  object({
    failureRatio: v.nullish(v.pipe(positive, v.maxValue(1)), failureRatio),
    minimumThroughput: v.nullish(integer(1), minimumThroughput),
    samplingDurationMs: v.nullish(millisecondsOrNone(100), samplingDurationMs),
    breakDurationMs: v.nullish(positiveMilliseconds, breakDurationMs),
    statusCodes: v.nullish(statusCodes(0), [...DEFAULT_CIRCUIT_BREAKER.statusCodes]),
  }),
  v.transform((options): CircuitBreakerPolicy => Object.freeze(options)),
);

/** Outcome of an attempt for the circuit breaker. 'ignored': not evidence about the server; only the permit is returned. */
export type AttemptOutcome = 'success' | 'failure' | 'ignored';

/** Returns the outcome of an attempt. A status that is not listed counts as success because the server is reachable. */
export function attemptOutcome(
  verdict: Pick<Verdict, 'kind' | 'code' | 'connectionLost' | 'retryableHttp'>,
  policy: Pick<CircuitBreakerPolicy, 'statusCodes'>,
): AttemptOutcome {
  switch (verdict.kind) {
    case 'ok':
      return 'success';
    // Never sent, or ended on this side: a losing hedge, a cancelled call, a closing client.
    case 'unsent':
    case 'local':
    case 'serialize':
    case 'cancelled':
      return 'ignored';
    case 'refused':
    case 'connection-lost':
    case 'attempt-timeout':
    case 'stream-idle':
      return 'failure';
    case 'http':
      if (verdict.retryableHttp) return 'failure';
      return outcomeOfCode(verdict.code, policy);
    case 'committed':
      if (verdict.connectionLost) return 'failure';
      return outcomeOfCode(verdict.code, policy);
    case 'server':
    case 'overloaded':
    case 'protocol':
      return outcomeOfCode(verdict.code, policy);
    case 'deadline':
      return outcomeOfDeadline(policy);
  }
}

export function outcomeOfCode(code: StatusCode, policy: Pick<CircuitBreakerPolicy, 'statusCodes'>): AttemptOutcome {
  return code !== StatusCode.OK && policy.statusCodes.has(code) ? 'failure' : 'success';
}

/** Returns the outcome of an attempt that this side ended at the deadline. It is not a success, because the server may be hanging. */
export function outcomeOfDeadline({ statusCodes }: Pick<CircuitBreakerPolicy, 'statusCodes'>): AttemptOutcome {
  return statusCodes.has(StatusCode.DEADLINE_EXCEEDED) ? 'failure' : 'ignored';
}

/** Token of an admission. A result counts only if its attempt was admitted in the current period, no matter when the attempt ended. */
export type CircuitToken = number;

/** State of a circuit breaker. Times are monotonic milliseconds. */
interface CircuitState {
  readonly kind: 'closed' | 'open' | 'half-open';
  readonly token: CircuitToken;
  /**
   * First token whose result counts; Infinity while the circuit is open. If it is half open, the token of the first probe: the result of
   * any probe since then counts, including a slow one that a later probe replaced.
   */
  readonly since: CircuitToken;
  /** Time until which no attempt is admitted: the end of the break, or of the time for which the latest probe holds the only permit. */
  readonly blockedUntil: number;
  /** Number of consecutive breaks without a successful probe between them. */
  readonly breaks: number;
}

const CLOSED: CircuitState = { kind: 'closed', token: 0, since: 0, blockedUntil: -Infinity, breaks: 0 };

/** Maximum duration of a break in milliseconds, before jitter; a longer `breakDurationMs` is not shortened. */
const MAX_BREAK_MS = 30_000;
const JITTER = 0.2;

export type CircuitAdmission =
  | {
      readonly admitted: true;
      /** Token for `onResult`, which must be called once per admission. */
      readonly token: CircuitToken;
    }
  | {
      readonly admitted: false;
      /** Milliseconds until an attempt can be admitted, if no running probe ends before then. */
      readonly retryAfterMs: number;
    };

/** State change of a circuit breaker, with its reason. */
export interface CircuitTransition {
  readonly from: 'closed' | 'open' | 'half-open';
  readonly to: 'closed' | 'open' | 'half-open';
  readonly reason: 'too-many-failures' | 'break-over' | 'probe-failed' | 'probe-succeeded';
  /** Time in milliseconds until the first probe if this transition opened the circuit; otherwise 0. */
  readonly breakMs: number;
  /** Number of failed attempts within the sampling time before the circuit opened. */
  readonly failures: number;
  /** Number of all attempts within the sampling time before the circuit opened. */
  readonly total: number;
}

/**
 * Rejects attempts after too many of them have failed, and admits single probes to detect when attempts succeed again.
 *
 * This is a custom implementation because cockatiel's breakers, like Polly's, have three faults. A late result of an attempt admitted
 * before the break can override the result of a probe. A hanging probe keeps the circuit half open forever. A cancelled probe closes the
 * circuit. In addition, cockatiel makes other calls wait for the probe, and counts old samples after an idle period.
 *
 * Here, each result carries the token of its admission, and probes have a timeout. If the result of a probe is ignored, the circuit stays
 * half open and permits another probe. Attempts lost with one connection count as one failure. A server killed under load is one event, and
 * the channel already makes the following calls wait.
 *
 * Times are monotonic milliseconds. The breaker sets no timers.
 */
export class CircuitBreakerCore {
  /** All attempts within the sampling time, and the failed ones. */
  private readonly all: RollingCount;
  private readonly failed: RollingCount;
  private readonly losses = new LostTogether();
  private circuit: CircuitState = CLOSED;
  private admission: CircuitAdmission = { admitted: true, token: CLOSED.token };

  constructor(
    readonly policy: CircuitBreakerPolicy,
    private readonly random: Random,
    private readonly onTransition?: (transition: CircuitTransition) => void,
  ) {
    this.all = new RollingCount(policy.samplingDurationMs);
    this.failed = new RollingCount(policy.samplingDurationMs);
  }

  /** State of the circuit. After the break, an open circuit stays 'open' until a probe is admitted. */
  get state(): CircuitState['kind'] {
    return this.circuit.kind;
  }

  /** Requests admission of one attempt. The first attempt after the break becomes the probe. */
  tryAcquire(now: number): CircuitAdmission {
    const state = this.circuit;
    if (state.kind === 'closed') return this.admission;
    const retryAfterMs = state.blockedUntil - now;
    if (retryAfterMs > 0) return { admitted: false, retryAfterMs };
    const token = state.token + 1;
    const since = Math.min(state.since, token);
    const blockedUntil = now + this.policy.breakDurationMs;
    this.change({ kind: 'half-open', token, since, blockedUntil, breaks: state.breaks }, now);
    return this.admission;
  }

  /** Records the outcome of the attempt that was admitted with `token`. Call it once per attempt. */
  onResult(token: CircuitToken, outcome: AttemptOutcome, now: number, lostWith?: LostConnection): void {
    const state = this.circuit;
    if (token < state.since) return;
    if (state.kind === 'half-open') {
      if (outcome === 'success') this.change({ ...CLOSED, token: state.token + 1, since: state.token + 1 }, now);
      else if (outcome === 'failure') this.open(state.breaks + 1, now);
      // Only the latest probe returns its permit; an older probe lost its permit at its timeout.
      else if (token === state.token) this.change({ ...state, blockedUntil: -Infinity }, now);
      return;
    }
    if (outcome === 'ignored') return;
    if (outcome === 'failure' && lostWith !== undefined)
      this.losses.decideOnce(lostWith, now, () => {
        this.count(true, now);
        return true;
      });
    else this.count(outcome === 'failure', now);
  }

  private count(isFailure: boolean, now: number): void {
    this.all.add(now);
    this.failed.add(now, isFailure ? 1 : 0);
    const [failures, total] = [this.failed.count, this.all.count];
    // Only a failure opens the circuit, not a success that reaches `minimumThroughput`.
    if (!isFailure || total < this.policy.minimumThroughput || failures < this.policy.failureRatio * total) return;
    this.open(1, now);
  }

  private open(breaks: number, now: number): void {
    const { breakDurationMs } = this.policy;
    const maxBreakMs = Math.max(MAX_BREAK_MS, breakDurationMs);
    const breakMs = jitter(Math.min(breakDurationMs * 2 ** (breaks - 1), maxBreakMs), JITTER, this.random);
    const token = this.circuit.token + 1;
    this.change({ kind: 'open', token, since: Infinity, blockedUntil: now + breakMs, breaks }, now);
  }

  private change(after: CircuitState, now: number): void {
    const before = this.circuit;
    this.circuit = after;
    this.admission = { admitted: true, token: after.token };
    if (after.kind === before.kind) return;
    const [failures, total] = [this.failed.count, this.all.count];
    if (after.kind === 'closed') for (const count of [this.failed, this.all]) count.clear();
    const breakMs = after.kind === 'open' ? after.blockedUntil - now : 0;
    this.onTransition?.({
      from: before.kind,
      to: after.kind,
      reason: reason(before, after),
      failures,
      total,
      breakMs,
    });
  }
}

function reason(before: CircuitState, after: CircuitState): CircuitTransition['reason'] {
  if (after.kind === 'closed') return 'probe-succeeded';
  if (after.kind === 'half-open') return 'break-over';
  return before.kind === 'half-open' ? 'probe-failed' : 'too-many-failures';
}
