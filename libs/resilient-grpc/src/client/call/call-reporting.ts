import type { Metadata } from '@grpc/grpc-js';
import type { CallEnd } from '../../call/call-event.js';
import type { Verdict } from '../../policy/evidence/verdict.js';
import type { StatusCode } from '../../status/status-code.js';
import type { MethodContext } from '../call-context.js';
import type { OutgoingCall } from '../interceptors/outgoing-call.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import type { AttemptHistory } from './attempt-history.js';

/** True if a callback, an interceptor or an event listener receives the end of a call. */
export function endIsWanted(context: MethodContext, options: GrpcCallOptions | undefined): boolean {
  return options?.onEnd !== undefined || context.client.events.everyCallWanted || context.parts?.hooks !== undefined;
}

/** Emits the start of a call. */
export function reportStart({ client, method }: MethodContext): void {
  if (client.events.everyCallWanted) client.events.emit({ type: 'call-start', path: method.path });
}

/** Emits the last attempt in `history`, what follows it, and the reason. */
export function reportAttempt(
  { client, method }: MethodContext,
  history: AttemptHistory,
  { reachedServer }: Verdict,
  next: 'none' | 'retry' | 'resume',
  because: string,
): void {
  const attempt = history.records.at(-1);
  if (!client.events.wanted || attempt === undefined) return;
  client.events.emit({
    type: 'attempt-end',
    path: method.path,
    attempt,
    reachedServer,
    next,
    reason: because,
  });
}

/** Status, trailers and duration of a call. */
interface CallResult {
  readonly code: StatusCode;
  readonly details: string;
  readonly trailers: Metadata;
  readonly peer: string | undefined;
  readonly durationMs: number;
}

/** Reports the end of a call to interceptors, the `onEnd` callback and event listeners. Called only if `endIsWanted` is true. */
export function reportEnd(
  context: MethodContext,
  options: GrpcCallOptions | undefined,
  outgoing: OutgoingCall | undefined,
  history: AttemptHistory | undefined,
  { peer, ...ended }: CallResult,
): void {
  const { client, method, parts } = context;
  const end: CallEnd = { ...ended, ...(peer === undefined ? {} : { peer }), attempts: history?.records ?? [] };
  if (outgoing !== undefined) parts?.hooks?.onEnd(outgoing, end);
  if (options?.onEnd !== undefined) notifyCaller(options.onEnd, end);
  if (client.events.everyCallWanted) client.events.emit({ type: 'call-end', path: method.path, end });
}

/** Emits an event for an unread stream. */
export function reportUnread(
  { client, method }: MethodContext,
  openedAt: string | undefined,
  startedAt: number,
  unreadMs: number,
): void {
  if (!client.events.wanted) return;
  const openMs = client.clock.now() - startedAt;
  const place = openedAt === undefined ? {} : { openedAt };
  client.events.emit({ type: 'unread-stream', path: method.path, openMs, unreadMs, ...place });
}

/**
 * Calls a callback of the caller. An error in it is a bug of the caller: it does not end the call, and is rethrown in a microtask so that
 * it is not lost.
 */
export function notifyCaller<T>(callback: (value: T) => void, value: T): void {
  try {
    callback(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
