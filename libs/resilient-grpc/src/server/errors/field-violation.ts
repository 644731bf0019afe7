import { BAD_REQUEST } from '../../errors/error-detail-types.js';
import type { StatusDetail } from '../../errors/status-details.js';

/** One validation error of a request. */
export interface FieldViolation {
  /** Path of the field, such as `items[0].quantity`; empty if unknown. */
  readonly field: string;
  readonly description: string;
}

/** Maximum bytes of sent violations; with the other trailers, they stay below the 8 KiB limit of most gRPC implementations. */
const MAX_BYTES = 4_096;

/** Returns a `google.rpc.BadRequest` with `violations`, or with the first ones if they do not all fit into trailers. */
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
