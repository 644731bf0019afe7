import type { Metadata } from '@grpc/grpc-js';
import { decodeDetail, readText } from './decode-detail.js';
import { RETRY_INFO, typeNameOf } from './error-detail-types.js';
import { readFields } from './protobuf-reader.js';

/** One detail of an error, as a server attached it. */
export interface StatusDetail {
  /** 'type.googleapis.com/google.rpc.ErrorInfo'; who attaches one may write 'google.rpc.ErrorInfo'. */
  readonly typeUrl: string;
  /** An object with the names of the JSON form where the type is one of google.rpc (lengths in milliseconds), else its bytes. */
  readonly value: unknown;
}

/** The trailer that holds a `google.rpc.Status`. */
export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';
/** Numbers of the fields of `google.rpc.Status`, and of `google.protobuf.Any`. */
export const STATUS_FIELDS = { code: 1, message: 2, details: 3 } as const;
export const ANY_FIELDS = { typeUrl: 1, value: 2 } as const;

/** Whether trailers bring details. */
export function hasStatusDetails(trailers: Metadata): boolean {
  return trailers.get(STATUS_DETAILS_KEY).length > 0;
}

/**
 * The details of a `google.rpc.Status` in trailers (https://google.aip.dev/193). What cannot be read is left as bytes, or out: an
 * error must not fail for what came with it.
 */
export function statusDetailsOf(trailers: Metadata): readonly StatusDetail[] {
  const [encoded] = trailers.get(STATUS_DETAILS_KEY);
  if (encoded === undefined || typeof encoded === 'string') return [];
  return fieldsOf(encoded).flatMap(({ number, value }) =>
    number === STATUS_FIELDS.details && typeof value !== 'bigint' ? [detailOf(value)] : [],
  );
}

/** When a server says that trying again makes sense, in milliseconds. */
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
