import { ReplayError } from '../errors/replay-error.js';
import { ResumeError } from '../errors/resume-error.js';
import type { LedgerLimits } from '../policy/replay/replay-ledger.js';
import { MAX_SERVER_FAILURES } from '../policy/resume/resume-policy.js';
import { describeValue } from '../policy/options/describe-value.js';
import { StatusCode } from '../status/status-code.js';

/** Error for a source that pushed more than the buffer may hold. */
export function tooMuchPushed(held: LedgerLimits, unacknowledged: number): ReplayError {
  const message =
    `The source pushed more than the buffers hold: ${count(unacknowledged)} unacknowledged, ${count(held.messages)} queued; ` +
    'pass an AsyncIterable, which can be paused, or raise maxUnacknowledged';
  return new ReplayError('source-too-fast', message, unacknowledged);
}

/** Error for two unacknowledged messages with the same `id`, which an acknowledgement cannot distinguish. */
export function sameId(id: unknown, unacknowledged: number): ReplayError {
  const message = `A second message with id ${describeValue(id)} arrived while the first is unacknowledged; give each message a unique id`;
  return new ReplayError('duplicate-id', message, unacknowledged);
}

/** Error for a call that was sent `awaited` messages and acknowledged none of them in time. */
export function noAcknowledgement(ms: number, awaited: number, unacknowledged: number): ReplayError {
  const message = `No acknowledgement within ${String(ms)} ms; ${count(awaited)} sent and not acknowledged`;
  return new ReplayError('acknowledgement-timeout', message, unacknowledged);
}

/** Error for a server that ended a call cleanly with messages unacknowledged. */
export function leftUnacknowledged(awaited: number, unacknowledged: number): ReplayError {
  const message = `The server ended the call cleanly, but did not acknowledge ${count(awaited)} sent to it`;
  return new ReplayError('unacknowledged', message, unacknowledged);
}

/** Error for a completing session that ended between two calls with messages unacknowledged. */
export function notReplayed(unacknowledged: number): ReplayError {
  return new ReplayError(
    'unacknowledged',
    `The session ended with ${count(unacknowledged)} unacknowledged`,
    unacknowledged,
  );
}

/** Error for a server that failed repeatedly without an acknowledgement; `error` is the last failure. */
export function poisonedAt(
  error: unknown,
  code: StatusCode | undefined,
  { oldest, unacknowledged }: { readonly oldest: unknown; readonly unacknowledged: number },
): ResumeError {
  const last = error instanceof Error ? error.message : describeValue(error);
  const place =
    unacknowledged === 0
      ? ''
      : ` (${count(unacknowledged)} unacknowledged, the first with id ${describeValue(oldest)})`;
  const message =
    `The server failed ${String(MAX_SERVER_FAILURES)} times without an acknowledgement${place}, last with "${last}"; fix the ` +
    'failure on the server, or omit the message that causes it';
  return new ResumeError('poison', code ?? StatusCode.UNKNOWN, message, { cause: error });
}

function count(messages: number): string {
  return messages === 1 ? '1 message' : `${String(messages)} messages`;
}
