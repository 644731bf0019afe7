import type { CapturedCall, Propagation } from '../../call/inbound-call.js';
import { metadataEntryProblem } from '../../channel/wire/metadata-input.js';
import { isNearDeadline } from '../../policy/deadline/deadline.js';
import { RETRY_CHAIN_KEY, stopsRetries } from '../../policy/retry/decide-retry.js';
import type { Clock } from '../../time/clock.js';
import type { CallArguments } from './call-arguments.js';
import { currentInbound, inCallerContext, currentCallerContext, type CallerContext } from '../caller/caller-context.js';
import { sinkWithin, type StreamSink } from '../../call/stream-source.js';
import type { GrpcCallOptions } from '../resilient-types.js';

/** Binding of an outgoing call to the inbound call that it serves. */
export interface InboundBinding {
  readonly inbound: CapturedCall;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Signal of the inbound call; `undefined` if cancellation is not propagated. */
  readonly signal: AbortSignal | undefined;
  /**
   * True if the outgoing call serves an inbound call that is a retry, or was caused by one further up the call chain; for an inbound
   * stream, only for a limited time after its start (see `stopsRetries`). An attempt that may have reached a server is then not repeated.
   */
  readonly inRetryChain: boolean;
  /**
   * Metadata propagated from the inbound call, and `x-retry-chain` if `inRetryChain` is true; `undefined` if absent. Overrides the metadata
   * of the client, but not that of the call.
   */
  readonly metadata: Readonly<Record<string, string | readonly Buffer[]>> | undefined;
}

/**
 * Returns the binding of a call that starts now. Returns `undefined` if there is no inbound call, or if the client or the call disables
 * propagation. `createdIn` is the inbound call in which the Observable was created. It is used if the subscription happens outside an
 * inbound call.
 */
export function inboundBinding(
  propagation: Propagation | undefined,
  options: GrpcCallOptions | undefined,
  clock: Clock,
  createdIn?: CapturedCall,
): InboundBinding | undefined {
  if (propagation === undefined || options?.propagate === false) return undefined;
  const inbound = currentInbound() ?? createdIn;
  if (inbound === undefined) return undefined;
  const inRetryChain = stopsRetries(inbound, clock.now());
  return {
    inbound,
    deadline: propagation.deadline ? (inbound.deadline?.getTime() ?? Infinity) : Infinity,
    signal: propagation.cancellation ? inbound.signal : undefined,
    inRetryChain,
    metadata: metadataOf(inbound, propagation, inRetryChain),
  };
}

/**
 * True if the deadline of the inbound call has passed or is near. Servers and clients often end the inbound call shortly before its
 * deadline. An outgoing attempt without a response then counts as timed out, because a timeout is evidence of a dead connection, but a
 * cancellation is not.
 */
export function isInboundAtDeadline(
  { binding, startedAt }: { readonly binding: InboundBinding | undefined; readonly startedAt: number },
  clock: Clock,
): boolean {
  const deadline = binding?.inbound.deadline?.getTime();
  return deadline !== undefined && isNearDeadline(deadline - clock.epoch(), clock.now() - startedAt);
}

export function sinkInContext(sink: StreamSink<unknown>, origin: CallerContext): StreamSink<unknown> {
  return sinkWithin(sink, (work) => inCallerContext(origin, work));
}

/** Returns the arguments of a call, with its callbacks bound to the context in which the call was made. */
export function argumentsInContext(given: CallArguments): CallArguments {
  const { onHeaders, onEnd } = given.options ?? {};
  if (onHeaders === undefined && onEnd === undefined) return given;
  const origin = currentCallerContext();
  if (origin === undefined) return given;
  return {
    ...given,
    options: {
      ...given.options,
      onHeaders: onHeaders && ((headers) => inCallerContext(origin, () => onHeaders(headers))),
      onEnd: onEnd && ((end) => inCallerContext(origin, () => onEnd(end))),
    },
  };
}

/** Omits values that gRPC does not allow, because untrusted inbound metadata must not make a call fail. */
function metadataOf(
  inbound: CapturedCall,
  { metadata: keys, dropped }: Propagation,
  inRetryChain: boolean,
): InboundBinding['metadata'] {
  const metadata: Record<string, string | readonly Buffer[]> = inRetryChain ? { [RETRY_CHAIN_KEY]: '1' } : {};
  for (const key of keys) {
    const text = inbound.get(key);
    if (text === undefined) continue;
    const value = key.endsWith('-bin') ? text.split(',').map((one) => Buffer.from(one, 'base64')) : text;
    const problem = metadataEntryProblem(key, value);
    if (problem === undefined) metadata[key] = value;
    else dropped?.(key, problem);
  }
  return Object.keys(metadata).length === 0 ? undefined : metadata;
}
