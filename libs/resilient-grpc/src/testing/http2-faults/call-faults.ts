import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { isNameOf } from '../scripted-server/service-methods.js';

/** The name of an HTTP/2 error code, or any integer from 0 to 2^32−1, assigned or not. */
export type Http2ErrorCode = keyof typeof HTTP2_ERROR_CODES | number;

/**
 * The point at which a call is reset. 'request': before the call is forwarded, so that the upstream never receives it. 'headers': in place
 * of the upstream's response headers. `afterRequests`, `afterResponses`: after this many complete messages have passed; 0 means after the
 * headers. 'trailers': after the last message, in place of the trailers.
 */
type ResetPoint =
  'request' | 'headers' | { readonly afterRequests: number } | { readonly afterResponses: number } | 'trailers';

/** A fault that ends a forwarded call: with `RST_STREAM`, or without trailers and therefore without a gRPC status. */
export type StreamFault =
  | {
      readonly kind: 'reset';
      readonly code: Http2ErrorCode;
      /** The point of the reset. A call that ends earlier is not affected. @defaultValue 'request' */
      readonly at?: ResetPoint | undefined;
      /** The side that receives `code`. The other side receives CANCEL, as with real proxies. @defaultValue 'to-client' */
      readonly direction?: 'to-client' | 'to-upstream' | undefined;
    }
  | { readonly kind: 'missing-trailers' };

/** A fault of a single call. */
export type CallFault =
  | StreamFault
  | {
      /**
       * Sends GOAWAY with a last stream ID below the ID of the call's stream. The call is not forwarded to the upstream. If the code is
       * NO_ERROR, earlier calls continue. Otherwise, the connection is closed, and earlier calls fail.
       */
      readonly kind: 'goaway';
      /** @defaultValue 'NO_ERROR' */
      readonly code?: Http2ErrorCode | undefined;
      /** Debug data of the frame, at most 16,376 bytes. @defaultValue none */
      readonly debugData?: string | undefined;
    };

/** Selects the calls that a fault affects. */
export interface CallFilter {
  /** Name of the method ('Get' or 'Orders/Get'), or its full path. @defaultValue every method */
  readonly method?: string | undefined;
  /** Number of calls, 1 or more, starting with the next one. `Infinity` means until the fault is removed. @defaultValue 1 */
  readonly times?: number | undefined;
}

interface Rule {
  readonly fault: CallFault;
  readonly method: string | undefined;
  /** Number of further calls that the rule affects. */
  times: number;
}

/** The pending call faults. If several match a call, the one added first applies. */
export class CallFaults {
  private readonly rules = new Set<Rule>();

  /** Adds a fault. Returns a function that removes the fault, so that it affects no further calls. */
  add(fault: CallFault, { method, times = 1 }: CallFilter): () => void {
    const rule = { fault, method, times };
    this.rules.add(rule);
    return () => {
      this.rules.delete(rule);
    };
  }

  /** Returns the fault to apply to a call to `path`; `undefined` if no fault matches. Counts the call against the fault's `times`. */
  claim(path: string): CallFault | undefined {
    const rule = [...this.rules].find(({ method }) => method === undefined || isNameOf(path, method));
    if (rule === undefined) return undefined;
    rule.times -= 1;
    if (rule.times <= 0) this.rules.delete(rule);
    return rule.fault;
  }

  clear(): void {
    this.rules.clear();
  }
}

/** Returns the number of an error code. */
export function errorNumber(code: Http2ErrorCode): number {
  return typeof code === 'number' ? code : HTTP2_ERROR_CODES[code];
}
