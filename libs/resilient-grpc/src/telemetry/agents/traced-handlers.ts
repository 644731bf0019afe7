import { AsyncResource } from 'node:async_hooks';
import { errorMonitor, type EventEmitter } from 'node:events';
import type { Server, UntypedHandleCall } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import { systemClock } from '../../time/clock.js';
import type { ServedCallTelemetry } from '../grpc-telemetry.js';

type Callback = (error: object | null | undefined, value: unknown, ...more: readonly unknown[]) => void;

/** Handler of a method, as grpc-js calls it; a function of the agent, if an agent has wrapped the handler. */
type Handler = (this: unknown, call: TracedCall, callback?: Callback) => void;

/** The part of grpc-js's server call that agents or this file use. */
interface TracedCall extends EventEmitter {
  readonly cancelled: boolean;
  readonly writableFinished?: boolean;
  getDeadline(): Date | number;
  /** The call inside, with which interceptors wrap the innermost call (`nextCall`). */
  readonly call: InnerCall;
}

interface InnerCall {
  readonly nextCall?: InnerCall;
  callEventTracker?: Readonly<Record<string, (status: object) => void>> | null;
}

/** What grpc-js's `Server.register()` keeps, by path. */
type Entries = ReadonlyMap<string, { func: UntypedHandleCall }>;

/** State of a call: true if it has ended on the wire, and the trailers that its handler passed to the callback. */
interface CallEnd {
  isOver?: boolean;
  more?: readonly unknown[];
}

const LATE = { code: StatusCode.DEADLINE_EXCEEDED, details: 'Deadline exceeded', message: 'Deadline exceeded' };

/** Path of a method that no caller can name, because paths on the wire begin with a slash. */
const PROBE = 'probe';

/** True if a monitoring agent wraps the handlers of grpc-js servers, such as `server`, and so may create a span for each served call. */
export function hasTracedHandlers(server: Server, entries: Entries): boolean {
  const handler = (): void => undefined;
  const bytes = (): Buffer => Buffer.alloc(0);
  server.register(PROBE, handler, bytes, bytes, 'unary');
  const entry = entries.get(PROBE);
  server.unregister(PROBE);
  return entry !== undefined && entry.func !== handler;
}

/** True if `@opentelemetry/instrumentation-grpc` creates the spans for served calls, except those that it is configured to ignore. */
export function isInstrumented(prototype: Pick<Server, 'register'>): boolean {
  // OpenTelemetry instrumentations mark the functions that they wrap (`isWrapped` of @opentelemetry/instrumentation).
  return Reflect.get(prototype.register, '__wrapped') === true;
}

/**
 * Registers a handler that an agent wraps. The agent's span ends when the call does, as a span of Nest's server would, and the agent does
 * not change the response.
 * @param entries what grpc-js has registered, by path
 * @param register registers a handler with the server for `path`, and returns false if there is one already
 * @param telemetryOf returns this library's telemetry of a call
 */
export function registerTraced(
  entries: Entries,
  path: string,
  handler: UntypedHandleCall,
  register: (handler: UntypedHandleCall) => boolean,
  telemetryOf: (call: object) => ServedCallTelemetry | undefined,
): boolean {
  const ends = new WeakMap<TracedCall, CallEnd>();

  const serve: Handler = (call, callback) => {
    const end: CallEnd = ends.get(call) ?? {};
    // Datadog ends the span of a cancelled call itself.
    const isEndedByAgent = call.listenerCount('cancelled') > 0;
    // Bound, because agents need the context of the span, and a drain calls this function outside it.
    const answer =
      callback &&
      AsyncResource.bind((error: object | null | undefined, value: unknown, ...more: readonly unknown[]): void => {
        if (end.more !== undefined) return;
        end.more = more;
        callback(error, value, ...more);
      });
    const work = (): unknown => Reflect.apply(handler, undefined, [call, answer]);
    const telemetry = telemetryOf(call);
    if (telemetry === undefined) work();
    else telemetry.serve(work);
    if (isEndedByAgent) return;
    const whenOver = (): void => {
      // Deferred, so that the handler can end its call first.
      systemClock.defer(() => {
        end.isOver = true;
        // As with Nest's server, a cancelled call is no error. Callers cancel a call at about the time of its deadline.
        const isLate = systemClock.epoch() + 1 >= Number(call.getDeadline());
        const error = isLate ? LATE : undefined;
        if (answer !== undefined) answer(error, undefined);
        // An 'error' event would also reach the listeners of the handler.
        else if (call.writableFinished !== true) call.emit(errorMonitor, error ?? { code: StatusCode.OK });
      });
    };
    if (call.cancelled) whenOver();
    else call.once('cancelled', whenOver);
  };

  // The cast is safe: grpc-js calls a handler with these arguments.
  if (!register(serve as never)) return false;
  const entry = entries.get(path);
  if (entry === undefined) return true;
  // The cast is safe: grpc-js calls `func` like this.
  const func = entry.func as unknown as Handler;
  const traced: Handler = function (call, callback) {
    const end: CallEnd = {};
    ends.set(call, end);
    trackEvents(call.call, end);
    const answer = (error: object | null | undefined, value: unknown, ...more: readonly unknown[]): void => {
      // OpenTelemetry omits the trailers.
      if (end.isOver !== true) callback?.(error, value, ...(more.length > 0 ? more : (end.more ?? [])));
    };
    // Called as a method, because Datadog reads the `type` of the entry.
    func.call(this, call, callback && answer);
  };
  // The cast is safe, as above.
  entry.func = traced as never;
  return true;
}

/**
 * Records the end of a call. New Relic replaces `onCallEnd`, which grpc-js provides only with Channelz and without
 * interceptors.
 */
function trackEvents(call: InnerCall, end: CallEnd): void {
  let innermost = call;
  while (innermost.nextCall !== undefined) innermost = innermost.nextCall;
  const given = innermost.callEventTracker;
  const ignore = (): void => undefined;
  call.callEventTracker = innermost.callEventTracker = {
    addMessageSent: ignore,
    addMessageReceived: ignore,
    onStreamEnd: ignore,
    ...given,
    onCallEnd: (status) => {
      end.isOver = true;
      given?.['onCallEnd']?.(status);
    },
  };
}
