import { describe, expect, it } from 'vitest';
import { type CapturedCall, propagated, type Propagation } from './inbound-call.js';

const signal = new AbortController().signal;
const values: Readonly<Record<string, string>> = { a: '1', b: '2', authorization: 'hush' };

function inbound(change: Partial<CapturedCall> = {}): CapturedCall {
  return {
    kind: 'grpc',
    deadline: new Date(5_000),
    signal,
    retry: false,
    streaming: false,
    startedAt: 0,
    get: (key) => values[key],
    ...change,
  };
}

const nothing: Propagation = { deadline: false, cancellation: false, metadata: [] };

describe('propagated', () => {
  it('propagates nothing if every propagation option is off and the inbound call is not a retry', () => {
    expect(propagated(inbound(), nothing, 0)).toEqual({
      deadline: Infinity,
      signal: undefined,
      entries: [],
      inRetryChain: false,
    });
  });

  it('propagates the deadline, the cancellation, and the configured metadata keys that the inbound call has', () => {
    const configured = { deadline: true, cancellation: true, metadata: ['b', 'c', 'a'] };
    expect(propagated(inbound(), configured, 0)).toMatchObject({
      deadline: 5_000,
      signal,
      entries: [
        ['b', '2'],
        ['a', '1'],
      ],
    });
    const { deadline: _, ...without } = inbound();
    expect(propagated(without, configured, 0).deadline).toBe(Infinity);
  });

  it('propagates the retry mark even if every propagation option is off; for an inbound stream, only in its first 10 s', () => {
    const marked = [['x-retry-chain', '1']];
    expect(propagated(inbound({ retry: true }), nothing, 60_000)).toMatchObject({
      entries: marked,
      inRetryChain: true,
    });
    const stream = inbound({ retry: true, streaming: true, startedAt: 1_000 });
    expect(propagated(stream, nothing, 10_999)).toMatchObject({ entries: marked, inRetryChain: true });
    expect(propagated(stream, nothing, 11_000)).toMatchObject({ entries: [], inRetryChain: false });
  });
});
