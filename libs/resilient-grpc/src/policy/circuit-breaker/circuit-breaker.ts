import type { Random } from '../../time/random.js';
import type { LostConnection } from '../evidence/lost-connection.js';
import type { AttemptOutcome } from './attempt-outcome.js';
import { AttemptSample } from './attempt-sample.js';
import type { CircuitBreakerPolicy } from './circuit-breaker-policy.js';
import { CLOSED, type CircuitState, type CircuitToken } from './circuit-state.js';
import { isCurrent, nextCircuit, refusedForMs, type CircuitEvent } from './next-circuit.js';

/** Whether an attempt may begin. */
export type CircuitAdmission =
  | {
      readonly admitted: true;
      /** For `onResult`, which is called once for every admission. */
      readonly token: CircuitToken;
    }
  | {
      readonly admitted: false;
      /** Until the next probe, at the latest. */
      readonly retryAfterMs: number;
    };

/** A change of state, and why. */
export interface CircuitTransition {
  readonly from: 'closed' | 'open' | 'half-open';
  readonly to: 'closed' | 'open' | 'half-open';
  readonly because: 'too-many-failures' | 'break-over' | 'probe-failed' | 'probe-succeeded';
  /** How long nothing passes, of one that opened; else 0. */
  readonly breakMs: number;
  /** Attempts of the sampling time that failed. */
  readonly failures: number;
  /** Attempts of the sampling time. */
  readonly total: number;
}

/** Attempts on one connection that stays open were lost together if they fail within this long of the first, in milliseconds. */
const TOGETHER_MS = 250;

/** The first of the attempts that were lost with one connection. */
interface Loss {
  readonly at: number;
  /** The connection was over, or ended within `TOGETHER_MS`. */
  isOver: boolean;
}

/**
 * Refuses attempts while most of them fail, and finds out by single probes when they would succeed again.
 *
 * Cockatiel's breakers were looked at first. There, as in Polly, the late result of an attempt admitted before the break can
 * undo what a probe finds out, a probe that hangs keeps the circuit half open for ever, and one that is cancelled closes it; and
 * cockatiel has the others wait for the probe's verdict, and after a silence still counts old samples. So this one is our own,
 * and small: results carry the token of their admission, probes are bounded in time, and what says nothing of the server gives
 * its permit back. Attempts lost with one connection count as one failure: a kill under load is one event, and the channel
 * knows how to wait for what comes after it.
 *
 * Times are monotonic milliseconds. It sets no timer.
 */
export class CircuitBreaker {
  readonly #sample: AttemptSample;
  readonly #losses = new WeakMap<object, Loss>();
  #state: CircuitState = CLOSED;
  #admission: CircuitAdmission = { admitted: true, token: CLOSED.token };

  constructor(
    readonly policy: CircuitBreakerPolicy,
    private readonly random: Random,
    private readonly onTransition?: (transition: CircuitTransition) => void,
  ) {
    this.#sample = new AttemptSample(policy.samplingDurationMs);
  }

  /** 'open' until a probe is admitted. */
  get state(): CircuitState['kind'] {
    return this.#state.kind;
  }

  /** Asks for one attempt. While half open the first who asks becomes the probe. */
  tryAcquire(now: number): CircuitAdmission {
    if (this.#state.kind === 'closed') return this.#admission;
    const retryAfterMs = refusedForMs(this.#state, now);
    if (retryAfterMs > 0) return { admitted: false, retryAfterMs };
    this.#apply({ type: 'ask', at: now });
    return this.#admission;
  }

  /**
   * Records the outcome of an attempt that was admitted with `token`; once.
   *
   * @param lostWith `undefined` if the attempt was not lost with a connection
   */
  onResult(token: CircuitToken, outcome: AttemptOutcome, now: number, lostWith?: LostConnection): void {
    if (!isCurrent(this.#state, token)) return;
    if (this.#state.kind === 'closed') {
      if (outcome === 'ignored') return;
      if (outcome === 'failure' && lostWith !== undefined && this.#isCounted(lostWith, now)) return;
      this.#sample.add(outcome === 'failure', now);
      if (outcome === 'success') return;
    }
    this.#apply({ type: 'result', at: now, token, outcome, sample: this.#sample });
  }

  #apply(event: CircuitEvent): void {
    const before = this.#state;
    const after = nextCircuit(before, event, this.policy, this.random);
    if (after === before) return;
    this.#state = after;
    this.#admission = { admitted: true, token: after.token };
    if (after.kind === before.kind) return;
    const { failures, total } = this.#sample;
    if (after.kind === 'closed') this.#sample.clear();
    const breakMs = after.kind === 'open' ? after.probeAt - event.at : 0;
    this.onTransition?.({
      from: before.kind,
      to: after.kind,
      because: reason(before, after),
      failures,
      total,
      breakMs,
    });
  }

  #isCounted({ connection, isOver }: LostConnection, now: number): boolean {
    const loss = this.#losses.get(connection);
    if (loss !== undefined && now - loss.at <= TOGETHER_MS) {
      loss.isOver ||= isOver;
      return true;
    }
    if (loss?.isOver === true) return true;
    this.#losses.set(connection, { at: now, isOver });
    return false;
  }
}

function reason(before: CircuitState, after: CircuitState): CircuitTransition['because'] {
  if (after.kind === 'closed') return 'probe-succeeded';
  if (after.kind === 'half-open') return 'break-over';
  return before.kind === 'half-open' ? 'probe-failed' : 'too-many-failures';
}
