import type { Interceptor, Metadata } from '@grpc/grpc-js';
import { InterceptedMessage } from '../../call/intercepted-message.js';
import type { StreamScope } from '../../call/stream-source.js';
import { NO_METADATA } from '../../channel/wire/call-metadata.js';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import { serializationFailure } from '../../errors/error-message.js';
import { StatusCode } from '../../status/status-code.js';
import type { MethodContext } from '../call-context.js';
import type { OutgoingCall } from '../interceptors/call-hooks.js';
import { callDeadline, callMetadata, type CallArguments } from './call-arguments.js';
import { cancelled, draining, inboundCancelled, type CallFailure } from '../attempts/call-failure.js';
import type { CallerContext } from '../caller/caller-context.js';
import { inboundBinding, type InboundBinding } from './inbound-binding.js';

export interface CallInput {
  readonly request: unknown;
  readonly given: CallArguments;
  /** Context in which the Observable was created; `undefined` if no contexts are kept. */
  readonly createdIn: CallerContext | undefined;
  /** 'file:line' of the code that made the call; present for streams that are traced. */
  readonly openedAt?: string | undefined;
}

/** Properties of a call that do not change after its start. */
export interface PreparedCall {
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Metadata before interceptors and the metadata function add to it. Attempts after the first add `grpc-previous-rpc-attempts`. */
  readonly metadata: Metadata;
  readonly waitForReady: boolean | undefined;
  /** grpc-js's interceptors, outermost first; `undefined` if there are none. */
  readonly interceptors: readonly Interceptor[] | undefined;
  /** The single request message: bytes, or an `InterceptedMessage` for grpc-js's interceptors; `undefined` for a request stream. */
  readonly payload: unknown;
  /** Size of `payload` in bytes; 0 if it is absent or not serialized yet. */
  readonly bytes: number;
  readonly binding: InboundBinding | undefined;
  /** `undefined` if the call has none. */
  readonly onceKey: string | undefined;
  /** The call in the form that the client's interceptors and metadata function receive; `undefined` if the client has neither. */
  readonly outgoing: OutgoingCall | undefined;
}

/** Properties of a call that has not been prepared. */
export const UNPREPARED: PreparedCall = {
  startedAt: 0,
  deadline: Infinity,
  metadata: NO_METADATA,
  waitForReady: undefined,
  interceptors: undefined,
  payload: undefined,
  bytes: 0,
  binding: undefined,
  onceKey: undefined,
  outgoing: undefined,
};

/**
 * Returns the properties that all attempts of a call share, or the failure of a call that must not start. Called when the call is
 * subscribed to. `interceptors` are the grpc-js interceptors of the call.
 *
 * @throws GrpcConfigurationError for invalid call options
 */
export function prepareCall(
  context: MethodContext,
  { given, createdIn, request }: CallInput,
  interceptors: readonly Interceptor[] | undefined,
  scope: StreamScope | undefined,
): PreparedCall | CallFailure {
  const { client, policy, propagation } = context;
  const { options } = given;
  const startedAt = client.clock.now();
  let deadline = Infinity;
  // Skipped for most calls, which have neither options nor a timeout.
  if (options !== undefined || policy.timeoutMs !== undefined) {
    deadline = callDeadline(context, options, client.clock.epoch());
  }
  const binding =
    propagation === undefined ? undefined : inboundBinding(propagation, options, client.clock, createdIn?.inbound);
  if (binding !== undefined) deadline = Math.min(deadline, binding.deadline);
  // Limits the deadline of the call to that of its stream.
  if (scope !== undefined) deadline = Math.min(deadline, scope.deadline);
  let { metadata } = context;
  if (options !== undefined || given.metadata !== undefined || binding?.metadata !== undefined) {
    metadata = callMetadata(context, given, binding?.metadata);
  }
  const byMetadata = metadata.getOptions().waitForReady;
  if (byMetadata === true) {
    // Clears `waitForReady` for grpc-js, so that the call waits in this library's queue and not in grpc-js's channel.
    metadata = metadata.clone();
    metadata.setOptions({ ...metadata.getOptions(), waitForReady: false });
  }
  const failure = admissionFailure(context, deadline, options?.signal, binding?.signal);
  if (failure !== undefined) return failure;
  // By default, a call of a resumed stream waits for the end of an outage, because failing and resuming again would take longer.
  const waitsToResume = scope !== undefined && scope.resumes > 0 ? true : undefined;
  const waitForReady = options?.waitForReady ?? byMetadata ?? policy.waitForReady ?? waitsToResume;
  const onceKey =
    context.once === undefined && options?.onceKey === undefined
      ? undefined
      : onceKeyOf(context, request, options?.onceKey, metadata);

  const outgoing = context.attemptInterceptors === undefined ? undefined : outgoingCall(context, metadata, binding);
  let payload: unknown;
  let bytes = 0;
  if (!context.method.requestStream) {
    // Serializes the message once for all attempts. A message for grpc-js's interceptors is not serialized here, because they receive
    // objects.
    if (interceptors === undefined) {
      const encoded = encodeRequest(context, request);
      if (!(encoded instanceof Uint8Array)) return encoded;
      payload = encoded;
      bytes = encoded.length;
    } else {
      payload = new InterceptedMessage(request);
    }
  }
  return { startedAt, deadline, metadata, waitForReady, interceptors, payload, bytes, binding, onceKey, outgoing };
}

function admissionFailure(
  { client }: MethodContext,
  deadline: number,
  signal: AbortSignal | undefined,
  inbound: AbortSignal | undefined,
): CallFailure | undefined {
  switch (client.registry.accepting) {
    case 'closed':
      return { code: StatusCode.UNAVAILABLE, reason: 'closed', details: 'The client was closed' };
    case 'draining':
      return draining();
    case 'yes':
      break;
  }
  if (signal?.aborted === true) return cancelled('Cancelled on client', signal.reason);
  if (inbound?.aborted === true) return inboundCancelled(inbound.reason);
  // Rejects a call whose deadline has passed, because grpc-js would send it, and the server would execute it.
  if (deadline !== Infinity && deadline <= client.clock.epoch()) {
    const details = 'Deadline exceeded before the call began';
    return { code: StatusCode.DEADLINE_EXCEEDED, reason: 'deadline', details };
  }
  return undefined;
}

/** @throws GrpcConfigurationError for a key that cannot be sent */
function onceKeyOf(
  { once, client, method, policy }: MethodContext,
  request: unknown,
  given: string | undefined,
  metadata: Metadata,
): string | undefined {
  if (once !== undefined) return once.keyOf(request, given, metadata);
  // On grpc-js's transport, calls are not repeated.
  if (policy.once !== undefined) return undefined;
  const path = `${client.name}${method.path}: options.onceKey`;
  throw new GrpcConfigurationError([{ path, message: `requires methods: { ${method.method}: { once: true } }` }]);
}

function outgoingCall(context: MethodContext, shared: Metadata, binding: InboundBinding | undefined): OutgoingCall {
  const { service, method, path, kind } = context.method;
  // Copied, because interceptors modify the metadata, which may be shared.
  const metadata = shared.clone();
  const inbound = binding?.inbound;
  const { name } = context.client;
  return { client: name, service, method, path, kind, metadata, ...(inbound === undefined ? {} : { inbound }) };
}

/** Serializes a request message, or returns the failure if the message cannot be sent. */
export function encodeRequest(context: MethodContext, message: unknown): Buffer | CallFailure {
  let bytes: Buffer;
  try {
    bytes = context.method.requestSerialize(message);
  } catch (error) {
    return { ...serializationFailure(error), reason: 'not-sent', notRetriedBecause: 'local', cause: error };
  }
  const { maxSendBytes } = context;
  if (bytes.length <= maxSendBytes) return bytes;
  const details = `Attempted to send message with a size larger than ${String(maxSendBytes)} (${String(bytes.length)})`;
  const remedy = 'raise maxSendMessageLength, or maxRequestMessageBytes in the service config';
  return { code: StatusCode.RESOURCE_EXHAUSTED, details, reason: 'not-sent', notRetriedBecause: 'local', remedy };
}
