/** Violation of one field of a request. */
export interface FieldViolation {
  /** Path of the field, such as `items[0].quantity`; empty if unknown. */
  readonly field: string;
  readonly description: string;
}
