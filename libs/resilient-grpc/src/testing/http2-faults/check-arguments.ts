import * as v from 'valibot';
import { closest } from '../../errors/closest.js';
import { requireOptions } from '../../policy/options/option-problems.js';
import { converted, isObject, object, oneOf, openObject } from '../../policy/options/option-schemas.js';
import { sameRemedy } from '../../policy/options/value-rules.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { argumentCheck, isInteger } from '../argument-check.js';
import { clientTls, countOrInfinity, port, serverTls } from '../shared-options.js';
import { NO_LAST_STREAM_ID } from './goaway-frame.js';
import type { CallFault, CallFilter, GoawayOptions, Http2FaultProxyOptions } from './http2-faults.js';

const PROXY = 'Http2FaultProxy';
const MAX_UINT32 = 2 ** 32 - 1;
// Every HTTP/2 peer accepts frame payloads of 16,384 bytes. In a GOAWAY frame, the fixed fields use 8 of these bytes.
const MAX_DEBUG_BYTES = 16_376;
const CODE_NAMES = Object.keys(HTTP2_ERROR_CODES);

// These checks are for JavaScript callers, and for constraints that the types do not express.

const optionsSchema = object(
  { port: v.optional(port), tls: v.optional(serverTls), upstreamTls: v.optional(clientTls) },
  'options such as { port: 50051 }',
  { clock: 'only FaultProxy has a clock' },
);

const errorCode = converted(
  `the name of an HTTP/2 error code or an integer from 0 to ${MAX_UINT32}`,
  (value) => (CODE_NAMES.some((name) => name === value) || isInteger(value, 0, MAX_UINT32) ? value : undefined),
  (value) => {
    const meant = typeof value === 'string' ? closest(value, CODE_NAMES) : undefined;
    return meant === undefined ? undefined : `'${meant}'`;
  },
);

const debugData = v.custom(
  (value) => typeof value === 'string' && Buffer.byteLength(value) <= MAX_DEBUG_BYTES,
  `a string of up to ${MAX_DEBUG_BYTES} bytes`,
);

const resetPoint = v.custom(
  isResetPoint,
  "'request', 'headers', 'trailers', { afterRequests: integer }, or { afterResponses: integer }",
);

const EXAMPLE = "a fault such as { kind: 'reset', code: 'REFUSED_STREAM' }";
const kind = oneOf(['reset', 'missing-trailers', 'goaway']);
const kindSchema = openObject({ kind }, EXAMPLE);
const IN_FILTER = sameRemedy(
  ['method', 'times'],
  "write it in the second argument, such as { method: 'Get', times: 3 }",
);
const faultSchemas = {
  reset: object(
    {
      kind,
      code: errorCode,
      at: v.optional(resetPoint),
      direction: v.optional(oneOf(['to-client', 'to-upstream'])),
    },
    EXAMPLE,
    IN_FILTER,
  ),
  'missing-trailers': object({ kind }, EXAMPLE, IN_FILTER),
  goaway: object({ kind, code: v.optional(errorCode), debugData: v.optional(debugData) }, EXAMPLE, IN_FILTER),
};

const METHOD = "a method name such as 'Get'";
const filterSchema = object(
  { method: v.optional(v.pipe(v.string(METHOD), v.minLength(1, METHOD))), times: v.optional(countOrInfinity) },
  "an object such as { method: 'Get', times: 3 }",
);

const goawaySchema = object(
  {
    code: v.optional(errorCode),
    lastStreamId: v.optional(
      v.custom(
        (value) => value === 'newest' || value === 'none' || isInteger(value, 0, NO_LAST_STREAM_ID),
        `'newest', 'none', or an integer from 0 to ${NO_LAST_STREAM_ID}`,
      ),
    ),
    debugData: v.optional(debugData),
  },
  "options such as { code: 'ENHANCE_YOUR_CALM' }",
);

/** @throws GrpcConfigurationError if an option is unknown or invalid, including a key or certificate */
export function checkOptions(options: Http2FaultProxyOptions): void {
  requireOptions(optionsSchema, options, PROXY);
}

/** @throws GrpcConfigurationError if a property is unknown or invalid */
export function checkCallFault(fault: CallFault, filter: CallFilter): void {
  const path = `${PROXY}.failCalls`;
  requireOptions(faultSchemas[requireOptions(kindSchema, fault, path).kind], fault, path);
  requireOptions(filterSchema, filter, path);
}

/** @throws GrpcConfigurationError if a property is unknown or invalid */
export function checkGoaway(options: GoawayOptions): void {
  requireOptions(goawaySchema, options, `${PROXY}.goaway`);
}

/** @throws RangeError if `max` is neither `undefined` nor an integer from 0 to 2^32−1 */
export function checkStreamLimit(max: number | undefined): void {
  const isValid = max === undefined || isInteger(max, 0, MAX_UINT32);
  argumentCheck('limitStreams')(isValid, 'max to be an integer from 0 to 4294967295, or undefined', max);
}

/** @throws RangeError if `pings` is neither `undefined` nor an integer of 0 or more */
export function checkPings(pings: number | undefined): void {
  const isValid = pings === undefined || isInteger(pings, 0);
  argumentCheck('tooManyPingsAfter')(isValid, 'pings to be an integer of 0 or more, or undefined', pings);
}

function isResetPoint(at: unknown): boolean {
  if (at === 'request' || at === 'headers' || at === 'trailers') return true;
  const [entry, ...more] = isObject(at) ? (Object.entries(at) as [string, unknown][]) : [];
  return more.length === 0 && /^after(Requests|Responses)$/.test(entry?.[0] ?? '') && isInteger(entry?.[1], 0);
}
