import type { CapturedCall } from '../../call/inbound-call.js';
import type { TraceContext, TraceContexts } from '../../call/trace-contexts.js';
import { currentInbound, inboundInUse, inContextOf } from '../inbound-context.js';

/**
 * In which context a call was asked for. What comes over a connection, or of a timer, runs in the context of the request that
 * opened or started it: a call begun in such a callback would be bound to a stranger's request, and its span to a stranger's trace.
 */
export interface CallOrigin {
  readonly inbound: CapturedCall | undefined;
  readonly trace: TraceContext | undefined;
}

const NOWHERE: CallOrigin = { inbound: undefined, trace: undefined };

let traces: TraceContexts | undefined;
/** Clients that are traced. */
let keepers = 0;

/**
 * From now on the contexts of who traces are kept too, in all clients of this process, until each that asked has left. Returns how to
 * leave, once.
 */
export function keepTraces(contexts: TraceContexts): () => void {
  traces = contexts;
  keepers += 1;
  return () => {
    keepers -= 1;
    if (keepers === 0) traces = undefined;
  };
}

/** The context in which this is asked, `made` for what there is nothing of; undefined: nobody keeps any. */
export function originHere(made?: CallOrigin): CallOrigin | undefined {
  if (!inboundInUse() && traces === undefined) return undefined;
  const inbound = currentInbound() ?? made?.inbound;
  const trace = traces?.active() ?? made?.trace;
  // A call asks several times, mostly in one place: one object is enough.
  return made?.inbound === inbound && made?.trace === trace ? (made ?? NOWHERE) : { inbound, trace };
}

/** Does `work` in the context of `origin`; undefined: in whatever there is. */
export function inOrigin<T>(origin: CallOrigin | undefined, work: () => T): T {
  if (origin === undefined) return work();
  if (traces === undefined) return inContextOf(origin.inbound, work);
  return traces.run(origin.trace, () => inContextOf(origin.inbound, work));
}
