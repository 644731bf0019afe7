import { CircuitBreakerCore as Circuit, type CircuitTransition } from '../policy/circuit-breaker/circuit-breaker.js';
import type { CircuitBreakerOptions } from '../policy/circuit-breaker/circuit-breaker-policy.js';
import { circuitBreakerSchema } from '../policy/circuit-breaker/circuit-breaker-schema.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
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
    this.circuit = new Circuit(requireOptions(circuitBreakerSchema, policy, 'circuitBreaker'), random, onTransition);
    this.name = name;
    // Monotonic by default: the default scheduler uses wall-clock time, which can be set back.
    this.now = scheduler ? () => scheduler.now() : () => systemClock.now();
  }

  /** State of the circuit; stays 'open' until a probe is admitted. */
  get state(): 'closed' | 'open' | 'half-open' {
    return this.circuit.state;
  }
}
