import type { Metadata } from '@grpc/grpc-js';
import { isRepeated, RETRY_INFO, shapeOf, typeNameOf, type FieldKind, type Shape } from './error-detail-types.js';
import { readFields } from './protobuf-fields.js';

/** One detail that a server attached to an error. */
export interface StatusDetail {
  /**
   * Type URL, such as 'type.googleapis.com/google.rpc.ErrorInfo'. To attach a detail, the type name ('google.rpc.ErrorInfo') is enough.
   */
  readonly typeUrl: string;
  /**
   * For a standard type of google.rpc, an object with the JSON field names; a duration is in milliseconds, and its name ends with `Ms`. For
   * any other type or an invalid detail, the bytes.
   */
  readonly value: unknown;
}

/** Name of the trailer that contains a `google.rpc.Status`. */
export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';
/** Field numbers of `google.rpc.Status`. */
export const STATUS_FIELDS = { code: 1, message: 2, details: 3 } as const;
/** Field numbers of `google.protobuf.Any`. */
export const ANY_FIELDS = { typeUrl: 1, value: 2 } as const;
/** Shape of an entry of a map field. */
const MAP_ENTRY: Shape = { key: 'text', value: 'text' };
/** Shape of `google.protobuf.Duration`. */
const DURATION: Shape = { seconds: 'number', nanos: 'number' };

/** True if the trailers contain details. */
export function hasStatusDetails(trailers: Metadata): boolean {
  return trailers.get(STATUS_DETAILS_KEY).length > 0;
}

/**
 * Returns the details of the `google.rpc.Status` in the trailers (https://google.aip.dev/193). Unreadable parts stay bytes or are
 * omitted, because invalid details must not hide the error itself.
 */
export function statusDetailsOf(trailers: Metadata): readonly StatusDetail[] {
  const [encoded] = trailers.get(STATUS_DETAILS_KEY);
  if (encoded === undefined || typeof encoded === 'string') return [];
  return fieldsOf(encoded).flatMap(({ number, value }) =>
    number === STATUS_FIELDS.details && value instanceof Uint8Array ? [detailOf(value)] : [],
  );
}

/**
 * Returns the retry delay of the first RetryInfo detail in milliseconds; `undefined` if there is no such detail, or if its delay is absent,
 * invalid, or negative.
 */
export function retryDelayOf(details: readonly StatusDetail[]): number | undefined {
  const info = details.find(({ typeUrl }) => typeNameOf(typeUrl) === RETRY_INFO)?.value;
  const delay: unknown = typeof info === 'object' && info !== null ? Reflect.get(info, 'retryDelayMs') : undefined;
  return typeof delay === 'number' && delay >= 0 ? delay : undefined;
}

function detailOf(any: Uint8Array): StatusDetail {
  let typeUrl = '';
  let bytes: Uint8Array = new Uint8Array();
  for (const { number, value } of fieldsOf(any)) {
    if (!(value instanceof Uint8Array)) continue;
    if (number === ANY_FIELDS.typeUrl) typeUrl = readText(value);
    else if (number === ANY_FIELDS.value) bytes = value;
  }
  const shape = shapeOf(typeNameOf(typeUrl));
  try {
    return { typeUrl, value: shape === undefined ? bytes : decodeMessage(shape, bytes) };
  } catch {
    return { typeUrl, value: bytes };
  }
}

function fieldsOf(bytes: Uint8Array): ReturnType<typeof readFields> {
  try {
    return readFields(bytes);
  } catch {
    return [];
  }
}

/**
 * Decodes a message into an object. Missing text, map, and repeated fields are set to empty values; other missing fields are omitted.
 * Ignores unknown fields, and fields whose wire type does not match their kind.
 * @throws Error if the bytes, or those of a nested message, are not a valid message
 */
function decodeMessage(shape: Shape, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const message: Record<string, unknown> = {};
  const fields = Object.entries(shape);
  for (const [name, kind] of fields) {
    const empty = emptyOf(kind);
    if (empty !== undefined) message[name] = empty;
  }
  for (const { number, value } of readFields(bytes)) {
    const field = fields[number - 1];
    if (field === undefined) continue;
    const [name, kind] = field;
    if (typeof value === 'bigint') {
      if (kind === 'number') message[name] = Number(BigInt.asIntN(64, value));
    } else if (!(value instanceof Uint8Array)) {
      continue;
    } else if (isRepeated(kind)) {
      // Safe: emptyOf set an array.
      (message[name] as unknown[]).push(decodeValue(kind[0], value));
    } else if (kind === 'map') {
      const { key, value: text } = decodeMessage(MAP_ENTRY, value);
      // Defines an own property even for '__proto__', on the object that emptyOf set.
      Object.defineProperty(message[name], String(key), {
        value: text,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    } else if (kind !== 'number') {
      message[name] = decodeValue(kind, value);
    }
  }
  return message;
}

function emptyOf(kind: FieldKind): unknown {
  if (kind === 'text') return '';
  if (kind === 'map') return {};
  return isRepeated(kind) ? [] : undefined;
}

function decodeValue(kind: 'text' | 'duration' | Shape, bytes: Uint8Array): unknown {
  if (kind === 'text') return readText(bytes);
  if (kind !== 'duration') return decodeMessage(kind, bytes);
  const { seconds = 0, nanos = 0 } = decodeMessage(DURATION, bytes);
  return Number(seconds) * 1_000 + Number(nanos) / 1_000_000;
}

function readText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
