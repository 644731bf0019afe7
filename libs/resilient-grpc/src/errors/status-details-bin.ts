import type { StatusCode } from '../status/status-code.js';
import { encodeDetail } from './encode-detail.js';
import { typeNameOf } from './error-detail-types.js';
import { writeField } from './protobuf-writer.js';
import { ANY_FIELDS, STATUS_FIELDS, type StatusDetail } from './status-details.js';

const TYPE_PREFIX = 'type.googleapis.com/';

/**
 * Returns the value of the trailer `grpc-status-details-bin`: an encoded `google.rpc.Status` (https://google.aip.dev/193). The
 * `typeUrl` of a detail may be the type name only, such as 'google.rpc.ErrorInfo'.
 * @throws TypeError if a detail does not have the shape of its type; the message contains the path of the problem
 */
export function statusDetailsBin(code: StatusCode, message: string, details: readonly StatusDetail[]): Buffer {
  return Buffer.concat([
    ...(code === 0 ? [] : [writeField(STATUS_FIELDS.code, BigInt(code))]),
    ...(message === '' ? [] : [writeField(STATUS_FIELDS.message, Buffer.from(message))]),
    ...details.map((detail, at) => writeField(STATUS_FIELDS.details, encodeAny(detail, `details[${String(at)}]`))),
  ]);
}

function encodeAny({ typeUrl, value }: StatusDetail, path: string): Uint8Array {
  if (typeof typeUrl !== 'string' || typeNameOf(typeUrl) === '') {
    throw new TypeError(
      `${path}.typeUrl: expected a type name such as 'google.rpc.ErrorInfo', got ${JSON.stringify(typeUrl)}`,
    );
  }
  const url = typeUrl.includes('/') ? typeUrl : TYPE_PREFIX + typeUrl;
  return Buffer.concat([
    writeField(ANY_FIELDS.typeUrl, Buffer.from(url)),
    writeField(ANY_FIELDS.value, encodeDetail(typeNameOf(typeUrl), value, `${path}.value`)),
  ]);
}
