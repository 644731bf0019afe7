import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { isLostConnection } from './lost-connection.js';

describe('isLostConnection', () => {
  it.each([
    [status.UNAVAILABLE, 'Connection dropped'],
    [status.UNAVAILABLE, 'read ECONNRESET'],
    [status.CANCELLED, 'Call cancelled'],
    [status.INTERNAL, 'Received RST_STREAM with code 0 (Call ended without gRPC status)'],
    [
      status.INTERNAL,
      'Received RST_STREAM with code 2 triggered by internal client error: Session closed with error code 2',
    ],
  ])(
    'returns true for status %i "%s", because the connection was lost while the request was in flight',
    (code, details) => {
      expect(isLostConnection({ code, details })).toBe(true);
    },
  );

  it.each([
    [
      status.UNAVAILABLE,
      'No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ',
    ],
    [status.UNAVAILABLE, 'Name resolution failed for target dns:orders'],
    [status.CANCELLED, 'Cancelled on client'],
    [status.INTERNAL, 'Received RST_STREAM with code 1'],
    [status.DEADLINE_EXCEEDED, 'Deadline exceeded after 1s'],
  ])(
    'returns false for status %i "%s", because no connection was lost while the request was in flight',
    (code, details) => {
      expect(isLostConnection({ code, details })).toBe(false);
    },
  );

  it('returns false for an error without a status or for undefined, because neither indicates a lost connection', () => {
    expect(isLostConnection(new Error('Channel has been shut down'))).toBe(false);
    expect(isLostConnection(undefined)).toBe(false);
  });
});
