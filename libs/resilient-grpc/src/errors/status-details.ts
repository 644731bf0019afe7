import type { Metadata } from '@grpc/grpc-js';
import { decodeDetail, readText } from './decode-detail.js';
import { RETRY_INFO, typeNameOf } from './error-detail-types.js';
import { readFields } from './protobuf-reader.js';

/** One detail that a server attached to an error. */
export interface StatusDetail {
  /** Type URL: 'type.googleapis.com/google.rpc.ErrorInfo'. When attaching a detail, 'google.rpc.ErrorInfo' is enough. */
  readonly typeUrl: string;
  /** Object with the JSON field names (durations in milliseconds) for a type of google.rpc; the bytes for any other type. */
  readonly value: unknown;
}

/** Name of the trailer with a `google.rpc.Status`. */
export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';
/** Field numbers of `google.rpc.Status`. */
export const STATUS_FIELDS = { code: 1, message: 2, details: 3 } as const;
/** Field numbers of `google.protobuf.Any`. */
export const ANY_FIELDS = { typeUrl: 1, value: 2 } as const;

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
    number === STATUS_FIELDS.details && typeof value !== 'bigint' ? [detailOf(value)] : [],
  );
}

/** Returns the retry delay of a RetryInfo detail in milliseconds; `undefined` if there is none. */
export function retryDelayOf(details: readonly StatusDetail[]): number | undefined {
  const info = details.find(({ typeUrl }) => typeNameOf(typeUrl) === RETRY_INFO)?.value;
  const delay: unknown = typeof info === 'object' && info !== null ? Reflect.get(info, 'retryDelayMs') : undefined;
  return typeof delay === 'number' && delay >= 0 ? delay : undefined;
}

function detailOf(any: Uint8Array): StatusDetail {
  let typeUrl = '';
  let bytes: Uint8Array = new Uint8Array();
  for (const { number, value } of fieldsOf(any)) {
    if (typeof value === 'bigint') continue;
    if (number === ANY_FIELDS.typeUrl) typeUrl = readText(value);
    else if (number === ANY_FIELDS.value) bytes = value;
  }
  try {
    return { typeUrl, value: decodeDetail(typeNameOf(typeUrl), bytes) ?? bytes };
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
