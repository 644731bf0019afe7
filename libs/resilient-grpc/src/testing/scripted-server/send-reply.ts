import { once } from 'node:events';
import { toMetadata } from '../../channel/attempt/metadata-input.js';
import { StatusCode, statusName } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { pause } from '../pause.js';
import { requireUnread, streamedMessageCheck } from './checked-script.js';
import type { LoadedMethod } from './service-methods.js';
import type { Reply } from './reply.js';
import { trailersOf } from './reply.js';
import type { DuplexCall, ScriptedRequestReader } from './request-reader.js';
import type { ScriptedCall } from './scripted-call.js';

/** The gRPC call that `sendReply` replies to, and the dependencies of `sendReply`. */
export interface ReplyContext {
  readonly method: LoadedMethod;
  readonly call: DuplexCall;
  readonly scripted: ScriptedCall;
  readonly reader: ScriptedRequestReader;
  readonly clock: Clock;
  /** Holds the call. Resolves when the call is released or has ended. */
  hold(): Promise<void>;
  /** Called just before the status is sent. */
  onStatus(code: number): void;
}

/** Sends `reply`. Stops without an error when the call has ended. */
export async function sendReply(reply: Reply, context: ReplyContext): Promise<void> {
  const { call, scripted, method } = context;
  const hasEnded = () => scripted.signal.aborted;
  await readRequests(reply, context);
  await sleep(reply.delayMs, context);
  if (reply.hold === 'everything') await context.hold();
  if (hasEnded()) return;
  if (reply.headers !== undefined) call.sendMetadata(toMetadata(reply.headers === true ? {} : reply.headers));
  if (reply.hold === 'messages') await context.hold();
  const check = streamedMessageCheck(method, reply);
  let isEmpty = true;
  for await (const message of messagesOf(reply, context)) {
    if (hasEnded()) return;
    isEmpty = false;
    check?.(message);
    await write(call, message, scripted.signal);
    await sleep(reply.intervalMs, context);
  }
  if (isEmpty && !hasEnded()) requireUnread(method, reply);
  if (reply.hold === 'status') await context.hold();
  if (hasEnded() || reply.never === true) return;
  const code = typeof reply.status === 'string' ? StatusCode[reply.status] : (reply.status ?? StatusCode.OK);
  context.onStatus(code);
  if (code === StatusCode.OK) {
    call.end(trailersOf(reply));
    return;
  }
  const details = reply.details ?? statusName(code);
  call.emit('error', Object.assign(new Error(details), { code, details, metadata: trailersOf(reply) }));
  // Discards the remaining requests, which would otherwise stay buffered if the client were still sending.
  if (method.requestStream && reply.requests !== 'leave') call.resume();
}

async function readRequests(reply: Reply, { method, reader }: ReplyContext): Promise<void> {
  if (!method.requestStream) return;
  const how = reply.requests ?? (method.responseStream ? 'read' : 'await');
  if (how === 'await') await reader.drain();
  // A `messages` function may read the requests itself, and two readers would split them.
  else if (how === 'read' && typeof reply.messages !== 'function') void reader.drain();
}

function messagesOf(reply: Reply, { method, scripted }: ReplyContext): Iterable<unknown> | AsyncIterable<unknown> {
  if (reply.messages !== undefined) {
    return typeof reply.messages === 'function' ? reply.messages(scripted) : reply.messages;
  }
  if (reply.message !== undefined) return [reply.message];
  const succeeds = reply.status === undefined || reply.status === 'OK' || reply.status === StatusCode.OK;
  return succeeds && !method.responseStream && reply.never !== true ? [{}] : [];
}

async function write(call: DuplexCall, message: unknown, signal: AbortSignal): Promise<void> {
  if (call.write(message)) return;
  // Ignores the rejection of `once`, which means that the call ended before 'drain'.
  await once(call, 'drain', { signal }).catch(() => undefined);
}

async function sleep(ms = 0, { clock, scripted: { signal } }: ReplyContext): Promise<void> {
  if (ms > 0) await pause(ms, clock, signal);
}
