import { describe, expect, it } from 'vitest';
import type { CapturedCall } from './inbound-call.js';
import { propagated, type Propagation } from './propagation.js';

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

describe('what an inbound call hands on', () => {
  it('is nothing, unless it is named', () => {
    expect(propagated(inbound(), nothing, 0)).toEqual({
      deadline: Infinity,
      signal: undefined,
      entries: [],
      inRetryChain: false,
    });
  });

  it('is what is named, and there', () => {
    const named = { deadline: true, cancellation: true, metadata: ['b', 'c', 'a'] };
    expect(propagated(inbound(), named, 0)).toMatchObject({
      deadline: 5_000,
      signal,
      entries: [
        ['b', '2'],
        ['a', '1'],
      ],
    });
    const { deadline: _, ...without } = inbound();
    expect(propagated(without, named, 0).deadline).toBe(Infinity);
  });

  it('is the mark of a retry, whatever is named; of a stream only in its first 10 s', () => {
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
