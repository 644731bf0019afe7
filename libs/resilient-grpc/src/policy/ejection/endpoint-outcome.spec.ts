import { expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import { NOTHING_SEEN } from '../../testing/spec-support/memory-transport.js';
import type { AttemptEvidence } from '../evidence/attempt-evidence.js';
import { classify } from '../evidence/classify.js';
import { endpointOutcome, type EndpointOutcome } from './endpoint-outcome.js';

const { DEADLINE_EXCEEDED, INTERNAL, NOT_FOUND, UNAVAILABLE } = StatusCode;

/** Outcome of an attempt that was sent, ended after `elapsedMs`, and received no headers before its status. */
function outcomeOf(evidence: Pick<AttemptEvidence, 'code' | 'contentType' | 'wire'>, elapsedMs = 10): EndpointOutcome {
  const verdict = classify({
    details: 'failed',
    endedHere: 'no',
    picked: true,
    channelReady: true,
    headersReceived: false,
    messagesReceived: 0,
    ...evidence,
  });
  return endpointOutcome(verdict, evidence.wire, elapsedMs, 10);
}

it.each<[string | undefined, number, number, EndpointOutcome]>([
  ['application/grpc', NOT_FOUND, 10, 'success'],
  ['application/grpc', UNAVAILABLE, 10, 'failure'],
  ['application/grpc', DEADLINE_EXCEEDED, 10, 'none'],
  ['application/grpc', DEADLINE_EXCEEDED, 100, 'failure'],
  [undefined, NOT_FOUND, 10, 'success'],
  [undefined, INTERNAL, 10, 'success'],
  [undefined, UNAVAILABLE, 10, 'failure'],
  [undefined, DEADLINE_EXCEEDED, 10, 'none'],
  [undefined, DEADLINE_EXCEEDED, 100, 'failure'],
])(
  'counts a response with content-type %s and status %i after %i ms as %s',
  (contentType, code, elapsedMs, outcome) => {
    expect(outcomeOf({ code, contentType, wire: { ...NOTHING_SEEN, httpStatus: 200 } }, elapsedMs)).toBe(outcome);
  },
);

it.each([1, 5, 13])('counts a stream reset with RST_STREAM %i without a response as a failure', (resetCode) => {
  expect(outcomeOf({ code: INTERNAL, contentType: undefined, wire: { ...NOTHING_SEEN, resetCode } })).toBe('failure');
});
