import { CHAIN_MARK, stopsRetries } from '../policy/retry/chain-stop.js';
import type { CapturedCall } from './inbound-call.js';

/** What of an inbound call is handed on, resolved. */
export interface Propagation {
  readonly deadline: boolean;
  readonly cancellation: boolean;
  /** Keys in small letters. */
  readonly metadata: readonly string[];
  /** Hears of each call that would take something over, and whether there was an inbound call. */
  readonly note?: ((found: boolean) => void) | undefined;
}

/** What an outgoing call takes over from the inbound one. */
export interface Propagated {
  /** Milliseconds since 1970, or Infinity. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  /** Values as the inbound call has them; those of keys in '-bin' are base64. */
  readonly entries: readonly (readonly [key: string, value: string])[];
  /** It serves a retry: what may have reached a server is not sent again. */
  readonly inRetryChain: boolean;
}

/** What `inbound` hands on at `now` (monotonic). A retry marks what is called for it, whatever else is named. */
export function propagated(inbound: CapturedCall, propagation: Propagation, now: number): Propagated {
  const inRetryChain = stopsRetries(inbound, now);
  const entries = propagation.metadata.flatMap((key) => {
    const value = inbound.get(key);
    return value === undefined ? [] : [[key, value] as const];
  });
  return {
    deadline: propagation.deadline ? (inbound.deadline?.getTime() ?? Infinity) : Infinity,
    signal: propagation.cancellation ? inbound.signal : undefined,
    entries: inRetryChain ? [...entries, [CHAIN_MARK, CHAIN]] : entries,
    inRetryChain,
  };
}

const CHAIN = '1';
