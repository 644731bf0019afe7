import { AsyncLocalStorage } from 'node:async_hooks';
import type { CapturedCall } from '../call/inbound-call.js';

const storage = new AsyncLocalStorage<CapturedCall | undefined>();
let inUse = false;

/** Returns the inbound call being served in the current async context; `undefined` outside of any. */
export function currentInbound(): CapturedCall | undefined {
  return storage.getStore();
}

/** Runs `work`, and everything it starts, on behalf of `inbound`; `undefined`: on behalf of no call. */
export function runInbound<T>(inbound: CapturedCall | undefined, work: () => T): T {
  inUse = true;
  return storage.run(inbound, work);
}

/**
 * Runs `work` on behalf of `inbound` if inbound calls are captured. For callbacks of a connection or a timer: they run in the context of
 * the request that created it, which may be unrelated.
 */
export function inContextOf<T>(inbound: CapturedCall | undefined, work: () => T): T {
  return inUse ? storage.run(inbound, work) : work();
}

/** True if this process has captured inbound calls. Until then, looking them up costs nothing. */
export function inboundInUse(): boolean {
  return inUse;
}
