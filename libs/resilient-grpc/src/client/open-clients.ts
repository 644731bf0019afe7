import type { RegisteredCall } from './call/call-registry.js';

/** An open client, as the leak check uses it. */
export interface OpenClient {
  readonly name: string;
  readonly target: string;
  /** Open calls of the client. */
  readonly registry: Iterable<RegisteredCall>;
}

// Weak references, so that an unclosed client can still be garbage-collected. Only tests use this list.
const OPEN_CLIENTS = new Set<WeakRef<OpenClient>>();
const COLLECTED_CLIENTS = new FinalizationRegistry<WeakRef<OpenClient>>((mark) => OPEN_CLIENTS.delete(mark));

/** Registers a new client. Returns the mark that `markClosed` expects. */
export function markOpen(client: OpenClient): WeakRef<OpenClient> {
  const mark = new WeakRef(client);
  OPEN_CLIENTS.add(mark);
  COLLECTED_CLIENTS.register(client, mark);
  return mark;
}

/** Removes a closed client. */
export function markClosed(mark: WeakRef<OpenClient>): void {
  OPEN_CLIENTS.delete(mark);
}

/** Returns the open clients of this process, so that a test can find those it did not close. */
export function openClients(): readonly OpenClient[] {
  return [...OPEN_CLIENTS].flatMap((mark) => mark.deref() ?? []);
}
