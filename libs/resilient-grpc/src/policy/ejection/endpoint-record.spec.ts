import { expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import { NOTHING_SEEN } from '../../../../../test/unit-support/memory-transport.js';
import { type AttemptEvidence, classify } from '../evidence/classify.js';
import { endpointOutcome, type EndpointOutcome } from './endpoint-record.js';

const { DEADLINE_EXCEEDED, INTERNAL, NOT_FOUND, UNAVAILABLE } = StatusCode;

/** Returns the outcome of an attempt that was sent, ended after `elapsedMs`, and by default received no headers before its status. */
function outcomeOf(
  evidence: Partial<AttemptEvidence> & Pick<AttemptEvidence, 'code'>,
  elapsedMs = 10,
): EndpointOutcome {
  const whole: AttemptEvidence = {
    details: 'failed',
    endedHere: 'no',
    picked: true,
    channelReady: true,
    headersReceived: false,
    messagesReceived: 0,
    contentType: undefined,
    wire: NOTHING_SEEN,
    ...evidence,
  };
  return endpointOutcome(classify(whole), whole, elapsedMs, 10);
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
  'maps a response with content-type %s and status %i after %i ms to the endpoint outcome %s',
  (contentType, code, elapsedMs, outcome) => {
    expect(outcomeOf({ code, contentType, wire: { ...NOTHING_SEEN, httpStatus: 200 } }, elapsedMs)).toBe(outcome);
  },
);

it.each([1, 5, 13])(
  'counts a stream reset with RST_STREAM %i without a response as a failure of the endpoint',
  (resetCode) => {
    expect(outcomeOf({ code: INTERNAL, contentType: undefined, wire: { ...NOTHING_SEEN, resetCode } })).toBe('failure');
  },
);

it.each(['deadline', 'attempt-timeout'] as const)(
  'counts an attempt that exceeds its %s without a response as a failure of the endpoint',
  (endedHere) => {
    expect(outcomeOf({ code: DEADLINE_EXCEEDED, endedHere }, 100)).toBe('failure');
  },
);

it('counts a status from the server as a failure of the endpoint if the status arrives when the deadline passes', () => {
  const evidence = { code: DEADLINE_EXCEEDED, endedHere: 'deadline', contentType: 'application/grpc' } as const;
  expect(outcomeOf(evidence, 100)).toBe('failure');
});

it('does not count a deadline that passes during the response against the endpoint', () => {
  expect(outcomeOf({ code: DEADLINE_EXCEEDED, endedHere: 'deadline', headersReceived: true }, 100)).toBe('none');
});
