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

/** Whether anybody in this process has captured inbound calls. Until then looking for them costs nothing. */
export function inboundInUse(): boolean {
  return inUse;
}
