import type { RegisteredCall } from './calls/call-registry.js';

export interface OpenClient {
  readonly name: string;
  readonly target: string;
  readonly registry: Iterable<RegisteredCall> & { readonly isClosing: boolean };
}

/** Receives a call that a drain is about to cut off at its timeout. */
export type CutOffListener = (client: string, call: RegisteredCall) => void;

// Weak references, so that an unclosed client can still be garbage-collected. Only tests read the list.
const OPEN_CLIENTS = new Set<WeakRef<OpenClient>>();
const COLLECTED_CLIENTS = new FinalizationRegistry<WeakRef<OpenClient>>((mark) => OPEN_CLIENTS.delete(mark));

/** Registers a new client. Returns the mark that `markClosed` expects. */
export function markOpen(client: OpenClient): WeakRef<OpenClient> {
  const mark = new WeakRef(client);
  OPEN_CLIENTS.add(mark);
  COLLECTED_CLIENTS.register(client, mark);
  return mark;
}

export function markClosed(mark: WeakRef<OpenClient>): void {
  OPEN_CLIENTS.delete(mark);
}

const CUT_OFF_LISTENERS = new Set<CutOffListener>();

/** Notifies `listener` of each call that a drain cuts off in this process. Returns a function that removes the listener. */
export function onCutOff(listener: CutOffListener): () => void {
  CUT_OFF_LISTENERS.add(listener);
  return () => CUT_OFF_LISTENERS.delete(listener);
}

/** Passes each of `calls` to all listeners. A drain of `client` is about to cut off these calls. */
export function reportCutOff(client: string, calls: Iterable<RegisteredCall>): void {
  for (const listener of CUT_OFF_LISTENERS) for (const call of calls) listener(client, call);
}

/** Returns the open clients of this process, so that a test can find those it did not close. */
export function openClients(): readonly OpenClient[] {
  return [...OPEN_CLIENTS].flatMap((mark) => mark.deref() ?? []);
}
