// The built modules of the library whose decisions the simulation runs. No other file of the simulation imports them.
export { EventHub } from '../../libs/resilient-grpc/dist/call/event-hub.js';
export { AddressHistories } from '../../libs/resilient-grpc/dist/channel/connection/address-histories.js';
export { connectFailure } from '../../libs/resilient-grpc/dist/channel/connection/connect-failure.js';
export { EndpointLoads } from '../../libs/resilient-grpc/dist/channel/connection/endpoint-loads.js';
export {
  EndpointPicker,
  pickInfo,
  SlowStartPicker,
} from '../../libs/resilient-grpc/dist/channel/connection/endpoint-picker.js';
export { Endpoints } from '../../libs/resilient-grpc/dist/channel/connection/endpoints.js';
export {
  LOADS_OPTION,
  leastRequestPolicy,
} from '../../libs/resilient-grpc/dist/channel/connection/least-request-policy.js';
export { ManagedChannel } from '../../libs/resilient-grpc/dist/channel/managed-channel.js';
export { CallRelease } from '../../libs/resilient-grpc/dist/channel/outage/call-release.js';
export { AttemptHistory } from '../../libs/resilient-grpc/dist/client/attempts/attempt-history.js';
export {
  DEFAULT_CLIENT_SETTINGS,
  OUTAGE_GRACE_JITTER,
} from '../../libs/resilient-grpc/dist/client/settings/client-options.js';
export { measuredOutcome } from '../../libs/resilient-grpc/dist/policy/balancing/least-request.js';
export { DEFAULT_EJECTION } from '../../libs/resilient-grpc/dist/policy/ejection/ejection-policy.js';
export { classify } from '../../libs/resilient-grpc/dist/policy/evidence/classify.js';
export { OVERLOAD_KEY, OVERLOAD_VALUE } from '../../libs/resilient-grpc/dist/policy/overload/overload-queue.js';
export { OverloadQueue, ServiceTime } from '../../libs/resilient-grpc/dist/policy/overload/overload-queue.js';
export { DEFAULT_RELEASE_POLICY } from '../../libs/resilient-grpc/dist/policy/queue-release/release-pace.js';
export { MAX_BACKOFF_MS, firstBackoffMs } from '../../libs/resilient-grpc/dist/policy/reconnect/reconnect-times.js';
export { backoffMs } from '../../libs/resilient-grpc/dist/policy/retry/retry-policy.js';
export { DEFAULT_RETRY_POLICY } from '../../libs/resilient-grpc/dist/policy/retry/retry-policy.js';
export {
  DEFAULT_BUDGET_POLICY,
  DefaultBudget,
} from '../../libs/resilient-grpc/dist/policy/throttling/default-budget.js';
export { seededRandom } from '../../test/unit-support/seeded-random.mjs';
export { jitter } from '../../libs/resilient-grpc/dist/time/random.js';

/**
 * @typedef {import('../../libs/resilient-grpc/dist/call/call-event.js').GrpcClientEvent} GrpcClientEvent
 * @typedef {import('../../libs/resilient-grpc/dist/call/connectivity.js').ConnectivityState} ConnectivityState
 * @typedef {import('../../libs/resilient-grpc/dist/policy/connect-failure/connect-failures.js').ConnectFailureKind} ConnectFailureKind
 * @typedef {import('../../libs/resilient-grpc/dist/policy/ejection/ejection-policy.js').EjectionPolicy} EjectionPolicy
 * @typedef {import('../../libs/resilient-grpc/dist/policy/evidence/classify.js').Verdict} Verdict
 */
