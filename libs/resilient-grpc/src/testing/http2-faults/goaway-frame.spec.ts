import { describe, expect, it } from 'vitest';
import { goawayFrame, NO_LAST_STREAM_ID, withoutGoaway } from './goaway-frame.js';

const PING = Buffer.from('00000806000000000001020304050607ff', 'hex');

describe('GOAWAY frame', () => {
  it('encodes the last stream ID, the code, and the debug data of a GOAWAY frame', () => {
    expect(goawayFrame(5, 11, 'calm').toString('hex')).toBe('00000c070000000000000000050000000b63616c6d');
    expect(goawayFrame(NO_LAST_STREAM_ID, 0).toString('hex')).toBe('0000080700000000007fffffff00000000');
  });

  it('removes GOAWAY frames with NO_ERROR from written bytes, and keeps those with another code', () => {
    const error = goawayFrame(1, 2);
    expect(withoutGoaway(Buffer.concat([PING, goawayFrame(3, 0, 'bye'), PING, error]))).toEqual(
      Buffer.concat([PING, PING, error]),
    );
    expect(withoutGoaway(PING)).toEqual(PING);
    expect(withoutGoaway(goawayFrame(3, 0))).toEqual(Buffer.alloc(0));
  });
});
