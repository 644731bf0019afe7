import {
  CircuitBreakerCore as Circuit,
  type CircuitTransition,
  type CircuitBreakerOptions,
} from '../policy/circuit-breaker/circuit-breaker.js';
import { circuitBreakerProblems, completeCircuitBreaker } from '../policy/circuit-breaker/circuit-breaker-options.js';
import { pathOf } from '../policy/options/describe-value.js';
import { notifyListener } from '../errors/notify-listener.js';
import { systemRandom } from '../time/random.js';
import { checkOptions, objectProblem, readableOptions } from './options.js';
import { schedulerClock, type SchedulerOptions } from './scheduler-clock.js';

/** Name of a circuit breaker, and the listener for its transitions. */
export interface CircuitBreakerInstanceOptions {
  /** Name in errors. @defaultValue 'the source' */
  readonly name?: string | undefined;
  /** Called after each change of state. Errors that it throws are rethrown in a microtask, outside the subscriptions. */
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
    const { scheduler, random = systemRandom, name = 'the source', onTransition, ...policy } = readableOptions(options);
    const problems = circuitBreakerProblems(policy);
    checkOptions({
      circuitBreaker: objectProblem(options, '{ failureRatio }'),
      ...Object.fromEntries(Object.entries(problems).map(([key, message]) => [pathOf('circuitBreaker', key), message])),
    });
    const notify = onTransition && ((transition: CircuitTransition) => notifyListener(onTransition, transition));
    this.circuit = new Circuit(completeCircuitBreaker(policy), random, notify);
    this.name = name;
    const clock = schedulerClock(scheduler);
    this.now = () => clock.now();
  }

  /** State of the circuit. After `breakDurationMs`, the state stays 'open' until a probe is admitted. */
  get state(): 'closed' | 'open' | 'half-open' {
    return this.circuit.state;
  }
}
