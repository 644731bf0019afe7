import type { Metadata } from '@grpc/grpc-js';
import type { CallEnd } from '../../call/call-event.js';
import type { Verdict } from '../../policy/evidence/verdict.js';
import type { StatusCode } from '../../status/status-code.js';
import type { MethodContext } from '../call-context.js';
import type { OutgoingCall } from '../interceptors/outgoing-call.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import type { AttemptHistory } from './attempt-history.js';

/** Whether anybody wants to hear how a call ended. */
export function endIsWanted(context: MethodContext, options: GrpcCallOptions | undefined): boolean {
  return options?.onEnd !== undefined || context.client.events.everyCallWanted || context.parts?.hooks !== undefined;
}

/** Tells of the begin of a call. */
export function tellStart({ client, method }: MethodContext): void {
  if (client.events.everyCallWanted) client.events.emit({ type: 'call-start', path: method.path });
}

/** Tells of the last attempt in `history`, and what comes after it, with the reason. */
export function tellAttempt(
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
    because,
  });
}

/** How a call ended, but for what its history says. */
interface Ended {
  readonly code: StatusCode;
  readonly details: string;
  readonly trailers: Metadata;
  readonly peer: string | undefined;
  readonly durationMs: number;
}

/** Tells whoever wants to hear of the end of a call, which somebody does. */
export function tellEnd(
  context: MethodContext,
  options: GrpcCallOptions | undefined,
  outgoing: OutgoingCall | undefined,
  history: AttemptHistory | undefined,
  { peer, ...ended }: Ended,
): void {
  const { client, method, parts } = context;
  const end: CallEnd = { ...ended, ...(peer === undefined ? {} : { peer }), attempts: history?.records ?? [] };
  if (outgoing !== undefined) parts?.hooks?.onEnd(outgoing, end);
  if (options?.onEnd !== undefined) tellCaller(options.onEnd, end);
  if (client.events.everyCallWanted) client.events.emit({ type: 'call-end', path: method.path, end });
}

/** Tells of a stream that nobody reads. */
export function tellUnread(
  { client, method }: MethodContext,
  openedAt: string | undefined,
  startedAt: number,
  unreadMs: number,
): void {
  if (!client.events.wanted) return;
  const openMs = client.clock.now() - startedAt;
  const place = openedAt === undefined ? {} : { openedAt };
  client.events.emit({ type: 'stream-leak', path: method.path, openMs, unreadMs, ...place });
}

/** A callback of the caller that throws is the caller's bug: it must neither end the call nor go unseen. */
export function tellCaller<T>(callback: (value: T) => void, value: T): void {
  try {
    callback(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
