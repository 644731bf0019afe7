import { describe, expect, it } from 'vitest';
import { classify, type AttemptEvidence, type WireEvidence } from '../../policy/evidence/classify.js';
import { failureReason } from './call-failure.js';

const NEVER_SENT: WireEvidence = {
  unprocessed: 'never-sent',
  httpStatus: undefined,
  resetCode: undefined,
  lacksTrailers: false,
  closedHere: false,
  goawayCode: 0,
  acceptsNoStreams: true,
  timedOut: false,
};

function makeEnd(change: Partial<AttemptEvidence>): AttemptEvidence {
  return {
    code: 14,
    details: '',
    picked: false,
    channelReady: false,
    endedHere: 'no',
    headersReceived: false,
    messagesReceived: 0,
    contentType: undefined,
    ...change,
  };
}

describe('failureReason', () => {
  it.each<[string, string, Partial<AttemptEvidence>]>([
    ['outage', 'no connection was available', { failure: 'not-placed' }],
    ['connection-lost', 'a GOAWAY arrived before the stream was sent', { picked: true, wire: NEVER_SENT }],
    ['connection-lost', 'the picked connection accepted no streams', { code: 13, failure: 'not-started' }],
  ])('returns %s for an unsent attempt if %s', (reason, _cause, change) => {
    const end = makeEnd(change);
    const verdict = classify(end);
    expect(verdict).toMatchObject({ kind: 'unsent', reachedServer: 'no' });
    expect(failureReason(verdict)).toBe(reason);
  });
});
