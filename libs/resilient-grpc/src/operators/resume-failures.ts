import { CursorRegressionError } from '../errors/cursor-regression-error.js';
import { ResumeError } from '../errors/resume-error.js';
import { isRounded, MAX_OVERLAP, type CursorPlace } from '../policy/resume/cursor-track.js';
import { MAX_SERVER_FAILURES } from '../policy/resume/resume-policy.js';
import { describeValue } from '../policy/options/describe-value.js';
import { StatusCode } from '../status/status-code.js';
import { MAX_HELD } from './plain-source.js';

/** Error for a server that failed repeatedly at one cursor; `error` is the last failure. */
export function poisoned(error: unknown, code: StatusCode | undefined, cursor: unknown): ResumeError {
  const last = error instanceof Error ? error.message : describeValue(error);
  const message =
    `The server failed ${String(MAX_SERVER_FAILURES)} times at cursor ${describeValue(cursor)} without progress, last with ` +
    `"${last}"; fix the failure on the server, or start after this cursor with a later seed`;
  return new ResumeError('poison', code ?? StatusCode.UNKNOWN, message, { cause: error });
}

/** Error for a message that cannot be delivered because of its cursor; `previous` is the cursor of the stream. */
export function cannotPlace(
  place: Exclude<CursorPlace, 'newer' | 'same' | 'overlap'>,
  cursor: unknown,
  previous: unknown,
): ResumeError | CursorRegressionError {
  switch (place) {
    case 'went-back':
      return new CursorRegressionError(
        previous,
        cursor,
        `A message with cursor ${describeValue(cursor)} arrived after ${describeValue(previous)} within one call; the server must send messages in ` +
          'order, and `cursor` and `compare` must match that order',
      );
    case 'too-much-overlap':
      return new ResumeError(
        'overlap',
        StatusCode.INTERNAL,
        `More than ${String(MAX_OVERLAP)} messages arrived up to cursor ${describeValue(previous)}, after which the call should have started; pass ` +
          "the factory's cursor to the server, and make the server start after it",
      );
    case 'not-comparable':
      return new ResumeError(
        'cursor',
        StatusCode.INTERNAL,
        isRounded(cursor)
          ? `The cursor of a message is ${describeValue(cursor)}, a number beyond 2^53, which is rounded: the next message could ` +
              'be dropped as a duplicate; load 64-bit fields with `longs: String`, and return a BigInt from `cursor`'
          : `The cursor of a message is ${describeValue(cursor)} (${typeof cursor}), which cannot be compared with ${describeValue(previous)}; return ` +
              'a number or a BigInt from `cursor`, or set `compare`',
      );
  }
}

/** Error for a pulled stream whose reader is slower than a source without flow control. */
export function tooMuchHeld(): ResumeError {
  return new ResumeError(
    'slow-reader',
    StatusCode.RESOURCE_EXHAUSTED,
    `More than ${String(MAX_HELD)} messages arrived that the reader has not requested: the Observable that the factory returned has no ` +
      "flow control; return the client's call itself from the factory, and apply pipe() after resumable()",
  );
}
