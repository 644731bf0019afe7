import type { SecureContextOptions } from 'node:tls';
import { argumentCheck, isInteger } from '../argument-check.js';
import { pemError } from '../pem-error.js';
import { NO_LAST_STREAM_ID } from './goaway-frame.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { CallFilter, CallFault, GoawayOptions } from './http2-faults.js';

const FAULT_KINDS: readonly unknown[] = ['reset', 'missing-trailers', 'goaway'];
const RESET_POINTS: readonly unknown[] = [undefined, 'request', 'headers', 'trailers'];
const DIRECTIONS: readonly unknown[] = [undefined, 'to-client', 'to-upstream'];
const MAX_UINT32 = 2 ** 32 - 1;
// Every HTTP/2 peer accepts frames of 16,384 bytes. A GOAWAY frame uses 8 of them for its fixed fields.
const MAX_DEBUG_BYTES = 16_376;

/** An argument with unchecked values, because JavaScript callers can pass anything. */
type Unchecked = Readonly<Record<string, unknown>>;

/** @throws RangeError if an argument is invalid */
export function checkCallFault(fault: CallFault, { method, times = 1 }: CallFilter): void {
  // Safe cast: `fault` is an object, and its values are checked below.
  const { kind, code, at, direction, debugData } = fault as unknown as Unchecked;
  const check = argumentCheck('failCalls');
  check(FAULT_KINDS.includes(kind), "kind to be 'reset', 'missing-trailers', or 'goaway'", kind);
  if (kind === 'reset' || code !== undefined) check(isErrorCode(code), EXPECTED_CODE, code);
  if (kind === 'reset') {
    const point =
      "at to be 'request', 'headers', 'trailers', or { afterRequests } or { afterResponses } with an integer";
    check(RESET_POINTS.includes(at) || isAfter(at), point, at);
    check(DIRECTIONS.includes(direction), "direction to be 'to-client' or 'to-upstream'", direction);
  }
  if (kind === 'goaway') check(isDebugData(debugData), EXPECTED_DEBUG_DATA, debugData);
  check(
    method === undefined || (typeof method === 'string' && method !== ''),
    "method to be a method name such as 'Get'",
    method,
  );
  check(times === Infinity || isInteger(times, 1), 'times to be an integer of 1 or more, or Infinity', times);
}

/** @throws RangeError if an argument is invalid */
export function checkGoaway({ code = 'NO_ERROR', lastStreamId = 'newest', debugData }: GoawayOptions): void {
  const check = argumentCheck('goaway');
  check(isErrorCode(code), EXPECTED_CODE, code);
  const isId = lastStreamId === 'newest' || lastStreamId === 'none' || isInteger(lastStreamId, 0, NO_LAST_STREAM_ID);
  check(isId, "lastStreamId to be 'newest', 'none', or an integer from 0 to 2147483647", lastStreamId);
  check(isDebugData(debugData), EXPECTED_DEBUG_DATA, debugData);
}

/** @throws RangeError if `max` is not a valid number of streams */
export function checkStreamLimit(max: number | undefined): void {
  const holds = max === undefined || isInteger(max, 0, MAX_UINT32);
  argumentCheck('limitStreams')(holds, 'max to be an integer from 0 to 4294967295, or undefined', max);
}

/** @throws RangeError if `pings` is not a valid number of pings */
export function checkPings(pings: number | undefined): void {
  const holds = pings === undefined || isInteger(pings, 0);
  argumentCheck('tooManyPingsAfter')(holds, 'pings to be an integer of 0 or more, or undefined', pings);
}

/** @throws TypeError if a key, certificate, or authority is invalid, so that the start fails instead of the first connection */
export function checkTls(option: 'tls' | 'upstreamTls', tls: SecureContextOptions): void {
  const cause = pemError(tls);
  if (cause === undefined) return;
  const expected = `Http2FaultProxy: expected ${option} to have key, cert, and ca in PEM format`;
  throw new TypeError(`${expected}: ${cause.message}`, { cause });
}

const EXPECTED_CODE = 'code to be the name of an HTTP/2 error code or an integer from 0 to 4294967295';
const EXPECTED_DEBUG_DATA = `debugData to be a string of up to ${MAX_DEBUG_BYTES} bytes`;

function isErrorCode(code: unknown): boolean {
  return typeof code === 'string' ? Object.hasOwn(HTTP2_ERROR_CODES, code) : isInteger(code, 0, MAX_UINT32);
}

function isAfter(at: unknown): boolean {
  if (typeof at !== 'object' || at === null) return false;
  const [entry, ...more] = Object.entries(at) as [string, unknown][];
  return more.length === 0 && /^after(Requests|Responses)$/.test(entry?.[0] ?? '') && isInteger(entry?.[1], 0);
}

function isDebugData(data: unknown): boolean {
  return data === undefined || (typeof data === 'string' && Buffer.byteLength(data) <= MAX_DEBUG_BYTES);
}
