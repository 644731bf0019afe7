import { AsyncLocalStorage } from 'node:async_hooks';
import type { CapturedCall } from '../../call/inbound-call.js';
import type { TraceContext, TraceContexts } from '../../call/call-telemetry.js';

const storage = new AsyncLocalStorage<CapturedCall | undefined>();
/** True after the first `runInbound()`. Before that, `inContextOf()` avoids the cost of the storage. */
let inUse = false;

/** Returns the inbound call being served in the current async context; `undefined` outside an inbound call. */
export function currentInbound(): CapturedCall | undefined {
  return storage.getStore();
}

/** Runs `work`, and all asynchronous work that it starts, on behalf of `inbound`, or on behalf of no call if `inbound` is `undefined`. */
export function runInbound<T>(inbound: CapturedCall | undefined, work: () => T): T {
  inUse = true;
  return storage.run(inbound, work);
}

/**
 * Runs `work`, on behalf of `inbound` if inbound calls are captured. Needed in callbacks of a connection or a timer, because they run in
 * the context of the request that created the connection or timer. That request may be unrelated.
 */
export function inContextOf<T>(inbound: CapturedCall | undefined, work: () => T): T {
  return inUse ? storage.run(inbound, work) : work();
}

/**
 * Async context in which a call was made. Callbacks of a connection or a timer run in the context of the request that opened the
 * connection or started the timer. Without the stored context, a call that starts in such a callback would be bound to an unrelated
 * request, and its span to an unrelated trace.
 */
export interface CallerContext {
  readonly inbound: CapturedCall | undefined;
  readonly trace: TraceContext | undefined;
}

const NO_CONTEXT: CallerContext = { inbound: undefined, trace: undefined };

let traces: TraceContexts | undefined;
let tracedClients = 0;

/**
 * Keeps trace contexts in addition to inbound calls, for all clients of this process, until every registration is removed. Returns a
 * function that removes this registration; the function must be called only once.
 */
export function keepTraces(contexts: TraceContexts): () => void {
  traces ??= contexts;
  tracedClients += 1;
  return () => {
    tracedClients -= 1;
    if (tracedClients === 0) traces = undefined;
  };
}

/** Returns the current context, with missing parts taken from `createdIn`; `undefined` if no contexts are kept. */
export function currentCallerContext(createdIn?: CallerContext): CallerContext | undefined {
  if (!inUse && traces === undefined) return undefined;
  const inbound = currentInbound() ?? createdIn?.inbound;
  const trace = traces?.active() ?? createdIn?.trace;
  // A call uses this function several times, usually in the same context, so the object is reused.
  return createdIn?.inbound === inbound && createdIn?.trace === trace ? (createdIn ?? NO_CONTEXT) : { inbound, trace };
}

/** Runs `work` in the context of `origin`, or in the current context if `origin` is `undefined`. */
export function inCallerContext<T>(origin: CallerContext | undefined, work: () => T): T {
  if (origin === undefined) return work();
  if (traces === undefined) return inContextOf(origin.inbound, work);
  return traces.run(origin.trace, () => inContextOf(origin.inbound, work));
}
