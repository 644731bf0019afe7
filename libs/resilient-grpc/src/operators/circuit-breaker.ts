import { CircuitBreaker as Circuit, type CircuitTransition } from '../policy/circuit-breaker/circuit-breaker.js';
import type { CircuitBreakerOptions } from '../policy/circuit-breaker/circuit-breaker-policy.js';
import { parseCircuitBreaker } from '../policy/circuit-breaker/parse-circuit-breaker.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { readOptions } from './options.js';
import type { Seams } from './seams.js';

/** What a circuit breaker is called, and who hears of its changes. */
export interface CircuitBreakerNaming {
  /** Stands in the errors. @defaultValue 'the source' */
  readonly name?: string | undefined;
  readonly onTransition?: ((transition: CircuitTransition) => void) | undefined;
}

/**
 * The state that all subscriptions through `breakCircuit(breaker)` share: one for each thing that can fail by itself. The same
 * machine as a client's.
 */
export class CircuitBreaker {
  /** As the errors call it. */
  readonly name: string;
  /** The time it goes by, in milliseconds. @internal */
  readonly now: () => number;
  /** What decides. @internal */
  readonly circuit: Circuit;

  /** @throws {GrpcConfigurationError} for options that are none. */
  constructor(options: CircuitBreakerOptions & CircuitBreakerNaming & Seams = {}) {
    const { scheduler, random = systemRandom, name = 'the source', onTransition, ...policy } = options;
    this.circuit = new Circuit(
      readOptions((problems) => parseCircuitBreaker(policy, 'circuitBreaker', problems)),
      random,
      onTransition,
    );
    this.name = name;
    // Not the scheduler's by default: that is the clock on the wall, which may be put back by an hour.
    this.now = scheduler ? () => scheduler.now() : () => systemClock.now();
  }

  /** 'open' until a probe is admitted. */
  get state(): 'closed' | 'open' | 'half-open' {
    return this.circuit.state;
  }
}
