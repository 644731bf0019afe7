import type { CapturedCall } from '../../call/inbound-call.js';
import { propagated, type Propagation } from '../../call/propagation.js';
import { metadataEntryProblem } from '../../channel/attempt/metadata-input.js';
import type { Clock } from '../../time/clock.js';
import type { CallArguments } from './call-arguments.js';
import { inOrigin, originHere, type CallOrigin } from './call-origin.js';
import type { StreamSink } from '../../call/stream-source.js';
import { currentInbound } from '../inbound-context.js';
import type { GrpcCallOptions } from '../resilient-types.js';

/** How an outgoing call is tied to the inbound one it serves. */
export interface InboundBinding {
  readonly inbound: CapturedCall;
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  /** Aborted when the inbound call was cancelled. */
  readonly signal: AbortSignal | undefined;
  /** To be joined over the client's own metadata and under the call's; undefined: nothing. */
  readonly metadata: Readonly<Record<string, string | readonly Buffer[]>> | undefined;
  /** What may have reached a server is not sent again. */
  readonly inRetryChain: boolean;
}

/**
 * What a call that begins now takes over from the inbound call it is made in; undefined where there is none, or the client or
 * the call is not bound to it. `made`: the inbound call in which its Observable was made, for one that is subscribed to
 * outside of any.
 */
export function inboundBinding(
  propagation: Propagation | undefined,
  options: GrpcCallOptions | undefined,
  clock: Clock,
  made?: CapturedCall,
): InboundBinding | undefined {
  if (propagation === undefined || options?.propagate === false) return undefined;
  const inbound = currentInbound() ?? made;
  propagation.note?.(inbound !== undefined);
  if (inbound === undefined) return undefined;
  const { entries, ...rest } = propagated(inbound, propagation, clock.now());
  return { inbound, ...rest, metadata: metadataOf(entries) };
}

/** `sink` called in the context of who asks for it, or in that of `made` where there is none. */
export function sinkInContext(sink: StreamSink<unknown>, made?: CallOrigin): StreamSink<unknown> {
  const origin = originHere(made);
  if (origin === undefined) return sink;
  return {
    demand: sink.demand,
    next: (message) => inOrigin(origin, () => sink.next(message)),
    error: (error) => {
      inOrigin(origin, () => {
        sink.error(error);
      });
    },
    complete: () => {
      inOrigin(origin, () => {
        sink.complete();
      });
    },
  };
}

/** Arguments of a call whose callbacks run in the context in which the call was made. */
export function argumentsInContext(given: CallArguments): CallArguments {
  const { onHeaders, onEnd } = given.options ?? {};
  if (onHeaders === undefined && onEnd === undefined) return given;
  const origin = originHere();
  if (origin === undefined) return given;
  return {
    ...given,
    options: {
      ...given.options,
      onHeaders: onHeaders && ((headers) => inOrigin(origin, () => onHeaders(headers))),
      onEnd: onEnd && ((end) => inOrigin(origin, () => onEnd(end))),
    },
  };
}

/** What a stranger sent must not fail a call: values that gRPC does not allow are left out. */
function metadataOf(entries: readonly (readonly [string, string])[]): InboundBinding['metadata'] {
  const metadata: Record<string, string | readonly Buffer[]> = {};
  for (const [key, text] of entries) {
    const value = key.endsWith('-bin') ? text.split(',').map((one) => Buffer.from(one, 'base64')) : text;
    if (metadataEntryProblem(key, value) === undefined) metadata[key] = value;
  }
  return Object.keys(metadata).length === 0 ? undefined : metadata;
}
