import type { RegisteredCall } from './call/call-registry.js';

/** An open client, as the leak check uses it. */
export interface OpenClient {
  readonly name: string;
  readonly target: string;
  /** Its open calls. */
  readonly registry: Iterable<RegisteredCall>;
}

// Weak references, so that an unclosed client can still be garbage-collected. Only tests use this list.
const OPEN = new Set<WeakRef<OpenClient>>();
const COLLECTED = new FinalizationRegistry<WeakRef<OpenClient>>((mark) => OPEN.delete(mark));

/** Registers a created client. Returns the argument of `markClosed`. */
export function markOpen(client: OpenClient): WeakRef<OpenClient> {
  const mark = new WeakRef(client);
  OPEN.add(mark);
  COLLECTED.register(client, mark);
  return mark;
}

/** Removes a closed client. */
export function markClosed(mark: WeakRef<OpenClient>): void {
  OPEN.delete(mark);
}

/** Returns the clients of this process that were not closed, so that a test can find what it left open. */
export function openClients(): readonly OpenClient[] {
  return [...OPEN].flatMap((mark) => mark.deref() ?? []);
}
