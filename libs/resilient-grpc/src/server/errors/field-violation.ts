import { BAD_REQUEST } from '../../errors/error-detail-types.js';
import type { StatusDetail } from '../../errors/status-details.js';

/** One thing that is wrong with a request. */
export interface FieldViolation {
  /** Path of the field, `items[0].quantity`; empty where it is not known. */
  readonly field: string;
  readonly description: string;
}

/** Bytes of violations that are told: with the rest of the trailers they stay below the 8 KiB that most of gRPC takes. */
const MAX_BYTES = 4_096;

/** A `google.rpc.BadRequest` that tells of `violations`, the first ones where there are too many for trailers. */
export function badRequestDetail(violations: readonly FieldViolation[]): StatusDetail {
  const fieldViolations: FieldViolation[] = [];
  let bytes = 0;
  for (const { field, description } of violations) {
    bytes += Buffer.byteLength(field) + Buffer.byteLength(description);
    if (bytes > MAX_BYTES) break;
    fieldViolations.push({ field, description });
  }
  return { typeUrl: BAD_REQUEST, value: { fieldViolations } };
}
