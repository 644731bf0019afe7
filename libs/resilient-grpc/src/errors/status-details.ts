import type { Metadata } from '@grpc/grpc-js';
import { decodeDetail, readText, RETRY_INFO } from './error-detail-types.js';
import { readFields } from './protobuf-reader.js';

/** One detail of an error, as a server attached it. */
export interface StatusDetail {
  /** 'type.googleapis.com/google.rpc.ErrorInfo' */
  readonly typeUrl: string;
  /** An object with the names of the JSON form where the type is one of google.rpc (lengths in milliseconds), else its bytes. */
  readonly value: unknown;
}

const KEY = 'grpc-status-details-bin';
const DETAILS_FIELD = 3;
const TYPE_FIELD = 1;
const VALUE_FIELD = 2;

/** Whether trailers bring details. */
export function hasStatusDetails(trailers: Metadata): boolean {
  return trailers.get(KEY).length > 0;
}

/**
 * The details of a `google.rpc.Status` in trailers (https://google.aip.dev/193). What cannot be read is left as bytes, or out: an
 * error must not fail for what came with it.
 */
export function statusDetailsOf(trailers: Metadata): readonly StatusDetail[] {
  const [encoded] = trailers.get(KEY);
  if (encoded === undefined || typeof encoded === 'string') return [];
  return fieldsOf(encoded).flatMap(({ number, value }) =>
    number === DETAILS_FIELD && typeof value !== 'bigint' ? [detailOf(value)] : [],
  );
}

/** When a server says that trying again makes sense, in milliseconds. */
export function retryDelayOf(details: readonly StatusDetail[]): number | undefined {
  const info = details.find(({ typeUrl }) => typeName(typeUrl) === RETRY_INFO)?.value;
  const delay: unknown = typeof info === 'object' && info !== null ? Reflect.get(info, 'retryDelayMs') : undefined;
  return typeof delay === 'number' && delay >= 0 ? delay : undefined;
}

function detailOf(any: Uint8Array): StatusDetail {
  let typeUrl = '';
  let bytes: Uint8Array = new Uint8Array();
  for (const { number, value } of fieldsOf(any)) {
    if (typeof value === 'bigint') continue;
    if (number === TYPE_FIELD) typeUrl = readText(value);
    else if (number === VALUE_FIELD) bytes = value;
  }
  try {
    return { typeUrl, value: decodeDetail(typeName(typeUrl), bytes) ?? bytes };
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

function typeName(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}
