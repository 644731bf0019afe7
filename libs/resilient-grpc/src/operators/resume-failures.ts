import { CursorRegressionError } from '../errors/cursor-regression-error.js';
import { ResumeError } from '../errors/resume-error.js';
import { isRounded, MAX_OVERLAP, type CursorPlace } from '../policy/resume/cursor-track.js';
import { MAX_SERVER_FAILURES } from '../policy/resume/resume-policy.js';
import { show } from '../policy/service-config/problem.js';
import { StatusCode } from '../status/status-code.js';
import { MAX_HELD } from './plain-source.js';

/** Error for a server that failed repeatedly at one cursor; `error` is the last failure. */
export function poisoned(error: unknown, code: StatusCode | undefined, cursor: unknown): ResumeError {
  const last = error instanceof Error ? error.message : show(error);
  const message =
    `The server failed ${String(MAX_SERVER_FAILURES)} times at cursor ${show(cursor)} without getting beyond it, at last with ` +
    `"${last}"; mend what it fails at, or begin behind it with a later seed`;
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
        `A message with cursor ${show(cursor)} came after ${show(previous)} within one call; the server must give them in ` +
          'order, and `cursor` and `compare` must follow that order',
      );
    case 'too-much-overlap':
      return new ResumeError(
        'overlap',
        StatusCode.INTERNAL,
        `More than ${String(MAX_OVERLAP)} messages came up to cursor ${show(previous)}, from which the call was to go on; pass ` +
          'the cursor that the factory is given to the server, and have the server begin behind it',
      );
    case 'not-comparable':
      return new ResumeError(
        'cursor',
        StatusCode.INTERNAL,
        isRounded(cursor)
          ? `The cursor of a message is ${show(cursor)}, a number beyond 2^53, which may stand for its neighbours too: what comes ` +
              'next would be taken for had; load 64-bit fields with `longs: String`, and have `cursor` give a BigInt of it'
          : `The cursor of a message is ${show(cursor)} (${typeof cursor}), which cannot be compared to ${show(previous)}; have ` +
              '`cursor` give a number or a BigInt, or write `compare`',
      );
  }
}

/** Error for a pulled stream whose reader is slower than a source without flow control. */
export function tooMuchHeld(): ResumeError {
  return new ResumeError(
    'slow-reader',
    StatusCode.RESOURCE_EXHAUSTED,
    `More than ${String(MAX_HELD)} messages came that the reader has not asked for: what the factory returns has no flow ` +
      'control; return the call of the client itself from it, and put pipe() behind resumable()',
  );
}
