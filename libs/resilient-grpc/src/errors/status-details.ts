import type { Metadata } from '@grpc/grpc-js';
import { readFields, type FieldBudget } from './protobuf-fields.js';

/** Type of a field. A kind in an array means a repeated field; `map` has string keys and values; a `duration` is in milliseconds. */
export type FieldKind = 'text' | 'number' | 'duration' | 'map' | Shape | readonly ['text' | Shape];
/**
 * Shape of a message: its fields by JSON name (with the suffix `Ms` for a duration), in the order of their numbers, which are 1, 2, 3, and
 * so on.
 */
export interface Shape {
  readonly [name: string]: FieldKind;
}

const LOCALIZED_MESSAGE: Shape = { locale: 'text', message: 'text' };

/**
 * Shapes of the standard error details, by type name
 * (https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto).
 */
const SHAPES: Readonly<Record<string, Shape>> = {
  'google.rpc.ErrorInfo': { reason: 'text', domain: 'text', metadata: 'map' },
  'google.rpc.RetryInfo': { retryDelayMs: 'duration' },
  'google.rpc.DebugInfo': { stackEntries: ['text'], detail: 'text' },
  'google.rpc.QuotaFailure': {
    violations: [
      {
        subject: 'text',
        description: 'text',
        apiService: 'text',
        quotaMetric: 'text',
        quotaId: 'text',
        quotaDimensions: 'map',
        quotaValue: 'number',
        futureQuotaValue: 'number',
      },
    ],
  },
  'google.rpc.PreconditionFailure': { violations: [{ type: 'text', subject: 'text', description: 'text' }] },
  'google.rpc.BadRequest': {
    fieldViolations: [{ field: 'text', description: 'text', reason: 'text', localizedMessage: LOCALIZED_MESSAGE }],
  },
  'google.rpc.RequestInfo': { requestId: 'text', servingData: 'text' },
  'google.rpc.ResourceInfo': { resourceType: 'text', resourceName: 'text', owner: 'text', description: 'text' },
  'google.rpc.Help': { links: [{ description: 'text', url: 'text' }] },
  'google.rpc.LocalizedMessage': LOCALIZED_MESSAGE,
};

export const BAD_REQUEST = 'google.rpc.BadRequest';
export const RETRY_INFO = 'google.rpc.RetryInfo';
/** Maximum google.protobuf.Duration in milliseconds: about 10,000 years. */
export const MAX_DURATION_MS = 315_576_000_000_000;

/** True if `kind` is a repeated field. Needed because `Array.isArray` does not narrow readonly arrays. */
export function isRepeated(kind: FieldKind): kind is readonly ['text' | Shape] {
  return Array.isArray(kind);
}

export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}

export function shapeOf(typeName: string): Shape | undefined {
  return Object.hasOwn(SHAPES, typeName) ? SHAPES[typeName] : undefined;
}

export interface FieldViolation {
  /** Path of the field, such as `items[0].quantity`; empty if unknown. */
  readonly field: string;
  readonly description: string;
}

/** One detail that a server attached to an error. */
export interface StatusDetail {
  /** Type URL, such as 'type.googleapis.com/google.rpc.ErrorInfo'. To attach a detail, the type name ('google.rpc.ErrorInfo') is enough. */
  readonly typeUrl: string;
  /**
   * Value of the detail. A value of a standard google.rpc type is an object with the JSON field names; a duration is in milliseconds, and
   * its name ends with `Ms`. The value is the bytes if the type is not standard, the detail is invalid, or the limit of 5,000 decoded
   * fields per error is exceeded.
   */
  readonly value: unknown;
}

interface EncodedDetail {
  readonly typeUrl: string;
  readonly bytes: Uint8Array;
}

export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';
export const STATUS_FIELDS = { code: 1, message: 2, details: 3 } as const;
export const ANY_FIELDS = { typeUrl: 1, value: 2 } as const;
const MAP_ENTRY: Shape = { key: 'text', value: 'text' };
const DURATION: Shape = { seconds: 'number', nanos: 'number' };

/**
 * Maximum number of fields that are read to find the details and a retry delay. The limit is needed because every failed call reads the
 * fields, and reading 46 KB of empty fields would take 20 ms.
 */
const MAX_READ_FIELDS = 1_000;
/** Maximum number of decoded fields in all details together. Sufficient for 28 KB of details with short texts. */
const MAX_DECODED_FIELDS = 5_000;

/**
 * Returns the details of the `google.rpc.Status` in the trailers (https://google.aip.dev/193). Unreadable parts stay bytes or are
 * omitted, because invalid details must not hide the error itself.
 */
export function statusDetailsOf(trailers: Metadata): readonly StatusDetail[] {
  const budget = { fields: MAX_DECODED_FIELDS };
  return encodedDetailsOf(trailers).map((detail) => ({ typeUrl: detail.typeUrl, value: decodeDetail(detail, budget) }));
}

/**
 * Returns the retry delay of the first RetryInfo detail in the trailers, in milliseconds; `undefined` if there is no such detail, or if its
 * delay is absent, invalid, negative, or above the maximum of a Duration. Decodes no other detail.
 */
export function retryDelayOf(trailers: Metadata): number | undefined {
  const encoded = encodedDetailsOf(trailers).find(({ typeUrl }) => typeNameOf(typeUrl) === RETRY_INFO);
  const info = encoded === undefined ? undefined : decodeDetail(encoded, { fields: MAX_READ_FIELDS });
  const delay: unknown = typeof info === 'object' && info !== null ? Reflect.get(info, 'retryDelayMs') : undefined;
  return typeof delay === 'number' && delay >= 0 && delay <= MAX_DURATION_MS ? delay : undefined;
}

function encodedDetailsOf(trailers: Metadata): readonly EncodedDetail[] {
  const [encoded] = trailers.get(STATUS_DETAILS_KEY);
  if (encoded === undefined || typeof encoded === 'string') return [];
  const budget = { fields: MAX_READ_FIELDS };
  const details: EncodedDetail[] = [];
  for (const { number, value } of fieldsOf(encoded, budget)) {
    if (number !== STATUS_FIELDS.details || !(value instanceof Uint8Array)) continue;
    const detail = readAny(value, budget);
    if (budget.fields < 0) break;
    details.push(detail);
  }
  return details;
}

function readAny(any: Uint8Array, budget: FieldBudget): EncodedDetail {
  let typeUrl = '';
  let bytes: Uint8Array = new Uint8Array();
  for (const { number, value } of fieldsOf(any, budget)) {
    if (!(value instanceof Uint8Array)) continue;
    if (number === ANY_FIELDS.typeUrl) typeUrl = readText(value);
    else if (number === ANY_FIELDS.value) bytes = value;
  }
  return { typeUrl, bytes };
}

function decodeDetail({ typeUrl, bytes }: EncodedDetail, budget: FieldBudget): unknown {
  const shape = shapeOf(typeNameOf(typeUrl));
  try {
    return shape === undefined ? bytes : decodeMessage(shape, bytes, budget);
  } catch {
    return bytes;
  }
}

function fieldsOf(bytes: Uint8Array, budget: FieldBudget): ReturnType<typeof readFields> {
  try {
    return readFields(bytes, budget);
  } catch {
    return [];
  }
}

/**
 * Decodes a message into an object. Missing text, map, and repeated fields are set to empty values; other missing fields are omitted.
 * Ignores unknown fields, and fields whose wire type does not match their kind.
 * @throws Error if the bytes, or those of a nested message, are not a valid message, or if the budget is exhausted
 */
function decodeMessage(shape: Shape, bytes: Uint8Array, budget: FieldBudget): Readonly<Record<string, unknown>> {
  const message: Record<string, unknown> = {};
  const fields = Object.entries(shape);
  for (const [name, kind] of fields) {
    const empty = emptyOf(kind);
    if (empty !== undefined) message[name] = empty;
  }
  for (const { number, value } of readFields(bytes, budget)) {
    const field = fields[number - 1];
    if (field === undefined) continue;
    const [name, kind] = field;
    if (typeof value === 'bigint') {
      if (kind === 'number') message[name] = Number(BigInt.asIntN(64, value));
    } else if (!(value instanceof Uint8Array)) {
      continue;
    } else if (isRepeated(kind)) {
      // Safe: emptyOf set an array.
      (message[name] as unknown[]).push(decodeValue(kind[0], value, budget));
    } else if (kind === 'map') {
      const { key, value: text } = decodeMessage(MAP_ENTRY, value, budget);
      // Defines an own property even for '__proto__', on the object that emptyOf set.
      Object.defineProperty(message[name], String(key), {
        value: text,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    } else if (kind !== 'number') {
      message[name] = decodeValue(kind, value, budget);
    }
  }
  return message;
}

function emptyOf(kind: FieldKind): unknown {
  if (kind === 'text') return '';
  if (kind === 'map') return {};
  return isRepeated(kind) ? [] : undefined;
}

function decodeValue(kind: 'text' | 'duration' | Shape, bytes: Uint8Array, budget: FieldBudget): unknown {
  if (kind === 'text') return readText(bytes);
  if (kind !== 'duration') return decodeMessage(kind, bytes, budget);
  const { seconds = 0, nanos = 0 } = decodeMessage(DURATION, bytes, budget);
  return Number(seconds) * 1_000 + Number(nanos) / 1_000_000;
}

function readText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
