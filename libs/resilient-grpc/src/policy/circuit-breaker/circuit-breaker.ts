import type { Random } from '../../time/random.js';
import type { LostConnection } from '../evidence/verdict.js';
import type { AttemptOutcome } from './attempt-outcome.js';
import { AttemptSample } from './attempt-sample.js';
import type { CircuitBreakerPolicy } from './circuit-breaker-policy.js';
import {
  CLOSED,
  type CircuitState,
  type CircuitToken,
  isCurrent,
  nextCircuit,
  rejectedForMs,
  type CircuitEvent,
} from './next-circuit.js';

/** Admission or rejection of an attempt. */
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
 * Time in milliseconds, from the first lost attempt, within which all lost attempts on a connection that stays open count as one loss.
 */
const LOSS_WINDOW_MS = 250;

/** The last counted loss of attempts on one connection. */
interface Loss {
  /** Time at which its first attempt was lost. */
  readonly at: number;
  /** True if the connection accepted no more streams when any of the attempts was lost. */
  acceptsNoStreams: boolean;
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
  private readonly sample: AttemptSample;
  private readonly losses = new WeakMap<object, Loss>();
  private circuit: CircuitState = CLOSED;
  private admission: CircuitAdmission = { admitted: true, token: CLOSED.token };

  constructor(
    readonly policy: CircuitBreakerPolicy,
    private readonly random: Random,
    private readonly onTransition?: (transition: CircuitTransition) => void,
  ) {
    this.sample = new AttemptSample(policy.samplingDurationMs);
  }

  /** State of the circuit. After the break, an open circuit stays 'open' until a probe is admitted. */
  get state(): CircuitState['kind'] {
    return this.circuit.kind;
  }

  /** Requests admission of one attempt. The first attempt after the break becomes the probe. */
  tryAcquire(now: number): CircuitAdmission {
    if (this.circuit.kind === 'closed') return this.admission;
    const retryAfterMs = rejectedForMs(this.circuit, now);
    if (retryAfterMs > 0) return { admitted: false, retryAfterMs };
    this.apply({ type: 'request', at: now });
    return this.admission;
  }

  /**
   * Records the outcome of the attempt that was admitted with `token`. Call it once per attempt.
   *
   * @param lostWith `undefined` if the attempt was not lost with a connection
   */
  onResult(token: CircuitToken, outcome: AttemptOutcome, now: number, lostWith?: LostConnection): void {
    if (!isCurrent(this.circuit, token)) return;
    if (this.circuit.kind === 'closed') {
      if (outcome === 'ignored') return;
      if (outcome === 'failure' && lostWith !== undefined && this.isCounted(lostWith, now)) return;
      this.sample.add(outcome === 'failure', now);
      if (outcome === 'success') return;
    }
    this.apply({ type: 'result', at: now, token, outcome, sample: this.sample });
  }

  private apply(event: CircuitEvent): void {
    const before = this.circuit;
    const after = nextCircuit(before, event, this.policy, this.random);
    if (after === before) return;
    this.circuit = after;
    this.admission = { admitted: true, token: after.token };
    if (after.kind === before.kind) return;
    const { failures, total } = this.sample;
    if (after.kind === 'closed') this.sample.clear();
    const breakMs = after.kind === 'open' ? after.probeAt - event.at : 0;
    this.onTransition?.({
      from: before.kind,
      to: after.kind,
      reason: reason(before, after),
      failures,
      total,
      breakMs,
    });
  }

  private isCounted({ connection, acceptsNoStreams }: LostConnection, now: number): boolean {
    const loss = this.losses.get(connection);
    if (loss !== undefined && now - loss.at <= LOSS_WINDOW_MS) {
      loss.acceptsNoStreams ||= acceptsNoStreams;
      return true;
    }
    if (loss?.acceptsNoStreams === true) return true;
    this.losses.set(connection, { at: now, acceptsNoStreams });
    return false;
  }
}

function reason(before: CircuitState, after: CircuitState): CircuitTransition['reason'] {
  if (after.kind === 'closed') return 'probe-succeeded';
  if (after.kind === 'half-open') return 'break-over';
  return before.kind === 'half-open' ? 'probe-failed' : 'too-many-failures';
}
