import { StatusCode } from '../status/status-code.js';

const BRAND = Symbol.for('nestjs-resilient-grpc.CursorWentBackError');

/** A message came after one with a later cursor: the server's stream is not in order, so what was handed over cannot be trusted. */
export class CursorWentBackError extends Error {
  override readonly name = 'CursorWentBackError';
  readonly code = StatusCode.DATA_LOSS;

  constructor(
    /** Of the last message handed over. */
    readonly previous: unknown,
    /** Of the message that came after it. */
    readonly cursor: unknown,
    message: string,
  ) {
    super(message);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is a CursorWentBackError, also one of another copy of this package. */
export function isCursorWentBackError(error: unknown): error is CursorWentBackError {
  return error instanceof Error && BRAND in error;
}
