import { AsyncLocalStorage } from 'node:async_hooks';
import type { CapturedCall } from '../call/inbound-call.js';

const storage = new AsyncLocalStorage<CapturedCall | undefined>();
let inUse = false;

/** The inbound call that is being served where this is asked; undefined outside of any. */
export function currentInbound(): CapturedCall | undefined {
  return storage.getStore();
}

/** Does `work`, and all that follows from it, on behalf of `inbound`; undefined: of none. */
export function runInbound<T>(inbound: CapturedCall | undefined, work: () => T): T {
  inUse = true;
  return storage.run(inbound, work);
}

/**
 * Does `work` on behalf of `inbound`, where anybody captures inbound calls at all. For what is called back by a connection or a
 * timer: those run in the context of the request that made them, which may be a stranger's.
 */
export function inContextOf<T>(inbound: CapturedCall | undefined, work: () => T): T {
  return inUse ? storage.run(inbound, work) : work();
}

/** Whether anybody in this process has captured inbound calls. Until then looking for them costs nothing. */
export function inboundInUse(): boolean {
  return inUse;
}
