import { describe, expect, it } from 'vitest';
import { failureReason } from '../../client/attempts/call-failure.js';
import { maxReach } from '../../client/attempts/attempt-history.js';
import { isGrpcCallError, type FailureReason, type ReachedServer } from '../../errors/grpc-call-error.js';
import { classify } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import { grpcError } from './grpc-error.js';

const ENDED_HERE = ['no', 'deadline', 'attempt-timeout', 'stream-idle', 'cancel', 'protocol', 'closed'] as const;
const DETAILS = ['', 'Call cancelled', 'Stream refused by server', 'Deadline exceeded after 1s', 'Connection dropped'];
const TYPES = [undefined, 'application/grpc'];

/** Returns the highest `reachedServer` of an attempt without headers or messages, by failure reason. */
function findHighestReach(): ReadonlyMap<FailureReason, ReachedServer> {
  const all = new Map<FailureReason, ReachedServer>();
  const codes = Object.values(StatusCode).filter((code) => code !== StatusCode.OK);
  for (const picked of [true, false])
    for (const endedHere of ENDED_HERE)
      for (const code of codes)
        for (const details of DETAILS)
          // Omits the content type for a deadline: the client's timer usually ends the call before the server's status arrives.
          for (const contentType of picked && endedHere !== 'deadline' ? TYPES : [undefined]) {
            const evidence = { code, details, picked, endedHere, contentType };
            const verdict = classify({
              ...evidence,
              channelReady: picked,
              headersReceived: false,
              messagesReceived: 0,
            });
            const reason = failureReason(verdict);
            all.set(reason, maxReach(all.get(reason) ?? 'no', verdict.reachedServer));
          }
  return all;
}

describe('grpcError', () => {
  it.each([...findHighestReach()])(
    'defaults reachedServer of a grpcError() with reason %s to the highest value that the client reports: %s',
    (...row) => {
      const [reason, reachedServer] = row;
      expect(grpcError('INTERNAL', 'x', { reason }).reachedServer).toBe(reachedServer);
    },
  );

  it.each(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED'] as const)(
    "defaults reachedServer of a grpcError() with %s from the server to 'maybe'",
    (code) => {
      expect(grpcError(code).reachedServer).toBe('maybe');
    },
  );

  // For each of these reasons, the client reports how far the running attempt got: at most 'maybe' before the server responds.
  it.each(['inbound-cancelled', 'requests-overflow', 'closed', 'draining'] as const)(
    "defaults reachedServer of a grpcError() with reason %s to 'maybe'",
    (reason) => {
      expect(grpcError('UNAVAILABLE', 'x', { reason }).reachedServer).toBe('maybe');
    },
  );

  // An attempt that is rejected for one of these reasons is never sent.
  it.each(['too-many-waiting', 'concurrency-limit', 'circuit-open'] as const)(
    "defaults reachedServer of a grpcError() with reason %s to 'no'",
    (reason) => {
      expect(grpcError('UNAVAILABLE', 'x', { reason }).reachedServer).toBe('no');
    },
  );

  it('keeps a given reachedServer of a grpcError()', () => {
    expect(grpcError('UNAVAILABLE', 'x', { reason: 'outage', reachedServer: 'yes' }).reachedServer).toBe('yes');
  });

  it('attaches google.rpc status details to a grpcError() in the form that a server sends', () => {
    const value = { fieldViolations: [{ field: 'id', description: 'too short' }] };
    const error = grpcError('INVALID_ARGUMENT', 'bad', {
      statusDetails: [{ typeUrl: 'google.rpc.BadRequest', value }],
    });
    expect(error.statusDetails).toEqual([
      expect.objectContaining({
        value: expect.objectContaining({ fieldViolations: [expect.objectContaining({ field: 'id' })] }),
      }),
    ]);
    expect(isGrpcCallError(error, 'INVALID_ARGUMENT')).toBe(true);
  });
});
