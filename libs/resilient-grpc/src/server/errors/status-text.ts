import type { Metadata } from '@grpc/grpc-js';
import type { StatusCode } from '../../status/status-code.js';

/**
 * Maximum length of joined messages in characters. It is low because, in most gRPC implementations, the message and all other trailers
 * share a limit of 8 KiB.
 */
const MAX_DETAILS_LENGTH = 512;

export interface ServerStatus {
  readonly code: StatusCode;
  readonly details: string;
  readonly metadata?: Metadata | undefined;
  /**
   * Present if the error must be logged: the caller does not receive its message, or its code is a mistake, such as the string 'NOT_FOUND'.
   */
  readonly unexpected?: true;
}

/** Replaces lone surrogates, which cannot be encoded. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

/** Joins messages and truncates the result if it is too long. */
export function joinMessages(texts: readonly string[]): string {
  let text = '';
  for (const [index, message] of texts.entries()) {
    text += index === 0 ? message : `; ${message}`;
    if (text.length > MAX_DETAILS_LENGTH) return wellFormed(`${text.slice(0, MAX_DETAILS_LENGTH)}...`);
  }
  return wellFormed(text);
}
