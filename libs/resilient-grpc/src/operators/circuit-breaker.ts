import { CircuitBreakerCore as Circuit, type CircuitTransition } from '../policy/circuit-breaker/circuit-breaker.js';
import type { CircuitBreakerOptions } from '../policy/circuit-breaker/circuit-breaker-policy.js';
import { parseCircuitBreaker } from '../policy/circuit-breaker/parse-circuit-breaker.js';
import { systemRandom } from '../time/random.js';
import { readOptions } from './options.js';
import { schedulerClock } from './scheduler-clock.js';
import type { SchedulerOptions } from './scheduler-options.js';

/** Name of a circuit breaker, and the listener for its transitions. */
export interface CircuitBreakerInstanceOptions {
  /** Name in errors. @defaultValue 'the source' */
  readonly name?: string | undefined;
  readonly onTransition?: ((transition: CircuitTransition) => void) | undefined;
}

/**
 * Circuit state shared by all subscriptions through `breakCircuit(breaker)`. Create one for each dependency that can fail independently.
 * Uses the same state machine as a client's circuit breaker.
 */
export class CircuitBreaker {
  /** Name in errors. */
  readonly name: string;
  /** Current time in milliseconds. @internal */
  readonly now: () => number;
  /** State machine of the circuit. @internal */
  readonly circuit: Circuit;

  /** @throws {GrpcConfigurationError} if the options are invalid. */
  constructor(options: CircuitBreakerOptions & CircuitBreakerInstanceOptions & SchedulerOptions = {}) {
    const { scheduler, random = systemRandom, name = 'the source', onTransition, ...policy } = options;
    this.circuit = new Circuit(
      readOptions((problems) => parseCircuitBreaker(policy, 'circuitBreaker', problems)),
      random,
      onTransition,
    );
    this.name = name;
    const clock = schedulerClock(scheduler);
    this.now = () => clock.now();
  }

  /** State of the circuit; stays 'open' until a probe is admitted. */
  get state(): 'closed' | 'open' | 'half-open' {
    return this.circuit.state;
  }
}
