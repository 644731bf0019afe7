export { breakCircuit } from './break-circuit.js';
export { CircuitBreaker, type CircuitBreakerInstanceOptions } from './circuit-breaker.js';
export { ConcurrencyLimit, type ConcurrencyLimitOptions } from './concurrency-limit.js';
export { deadline } from './deadline.js';
export { hedge, type HedgeOptions } from './hedge.js';
export { idleTimeout } from './idle-timeout.js';
export { limitConcurrency } from './limit-concurrency.js';
export { replayUnacknowledged, type ReplayOptions, type BaseReplayOptions } from './replay-unacknowledged.js';
export type { ReplayId } from './replay-outgoing.js';
export { resumable, type ResumeOptions, type BaseResumeOptions } from './resumable.js';
export type { ResumeBackoffOptions } from './resume-pace.js';
export { retryBackoff, type Backoff, type RetryBackoffOptions } from './retry-backoff.js';
export type { SchedulerOptions } from './scheduler-clock.js';
export { CircuitOpenError, isCircuitOpenError } from '../errors/circuit-open-error.js';
export { ConcurrencyLimitError, isConcurrencyLimitError } from '../errors/concurrency-limit-error.js';
export { CursorRegressionError, isCursorRegressionError } from '../errors/cursor-regression-error.js';
export { DeadlineError, isDeadlineError } from '../errors/deadline-error.js';
export {
  GrpcConfigurationError,
  isGrpcConfigurationError,
  type ConfigurationProblem,
} from '../errors/grpc-configuration-error.js';
export { IdleTimeoutError, isIdleTimeoutError } from '../errors/idle-timeout-error.js';
export { isReplayError, ReplayError, type ReplayFailureReason } from '../errors/replay-error.js';
export { isResumeError, ResumeError, type ResumeFailureReason } from '../errors/resume-error.js';
export type { CircuitTransition } from '../policy/circuit-breaker/circuit-breaker.js';
export type { CircuitBreakerOptions } from '../policy/circuit-breaker/circuit-breaker-policy.js';
export type { BackoffJitter } from '../policy/retry/backoff.js';
export type { Acknowledgment } from '../policy/replay/replay-ledger.js';
export type { CompareCursors } from '../policy/resume/cursor-track.js';
