import { describe, expect, it } from 'vitest';
import type { CapturedCall, Propagation } from '../../call/inbound-call.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { currentInbound, currentCallerContext, runInbound } from '../caller/caller-context.js';
import { argumentsInContext, inboundBinding, sinkInContext } from './inbound-binding.js';

const clock = new VirtualClock();

function inbound(values: Readonly<Record<string, string>> = {}): CapturedCall {
  return {
    kind: 'http',
    signal: new AbortController().signal,
    retry: false,
    streaming: false,
    startedAt: 0,
    get: (key) => values[key],
  };
}

const makePropagation = (...metadata: string[]) => ({ deadline: true, cancellation: true, metadata });
const NOOP_SINK = { next: () => true, error: () => undefined, complete: () => undefined };

describe('inboundBinding', () => {
  it('binds a call to the inbound call in which it was created if it begins outside any inbound call', () => {
    const [made, begun] = [inbound(), inbound()];
    expect(inboundBinding(makePropagation(), undefined, clock, made)?.inbound).toBe(made);
    runInbound(begun, () => {
      expect(inboundBinding(makePropagation(), undefined, clock, made)?.inbound).toBe(begun);
    });
  });

  it('skips inbound metadata values that gRPC cannot send, and decodes binary values', () => {
    const values = { 'x-text': 'a', 'x-odd': 'ä', 'x-line': 'a\nb', 'x-id-bin': 'AQI=, Aw==' };
    const keys: string[] = [];
    const dropped = (key: string) => void keys.push(key);
    const propagation = { ...makePropagation(...Object.keys(values)), dropped };
    const binding = runInbound(inbound(values), () => inboundBinding(propagation, undefined, clock));
    expect(keys).toEqual(['x-odd', 'x-line']);
    expect(binding?.metadata).toEqual({ 'x-text': 'a', 'x-id-bin': [Buffer.from([1, 2]), Buffer.from([3])] });
    const none = runInbound(inbound(), () => inboundBinding(makePropagation('x-text'), undefined, clock));
    expect(none?.metadata).toBeUndefined();
  });
});

describe('propagation', () => {
  const NOTHING = { deadline: false, cancellation: false, metadata: [] };
  const bind = (call: CapturedCall, propagation: Propagation, now = 0) => {
    const at = new VirtualClock();
    at.advance(now);
    return inboundBinding(propagation, undefined, at, call);
  };

  it('propagates nothing if every propagation option is off and the inbound call is not a retry', () => {
    const call = { ...inbound({ a: '1' }), deadline: new Date(5_000) };
    expect(bind(call, NOTHING)).toEqual({
      inbound: call,
      deadline: Infinity,
      signal: undefined,
      metadata: undefined,
      inRetryChain: false,
    });
  });

  it('propagates the deadline, the cancellation, and the configured metadata keys that the inbound call has', () => {
    const call = { ...inbound({ a: '1', b: '2', authorization: 'hush' }), deadline: new Date(5_000) };
    const { signal } = call;
    const metadata = { a: '1', b: '2' };
    expect(bind(call, makePropagation('b', 'c', 'a'))).toMatchObject({ deadline: 5_000, signal, metadata });
    expect(bind(inbound(), makePropagation('a'))?.deadline).toBe(Infinity);
  });

  it('propagates the retry mark even if every propagation option is off; for an inbound stream, only in its first 10 s', () => {
    const marked = { metadata: { 'x-retry-chain': '1' }, inRetryChain: true };
    expect(bind({ ...inbound(), retry: true }, NOTHING, 60_000)).toMatchObject(marked);
    const stream = { ...inbound(), retry: true, streaming: true, startedAt: 1_000 };
    expect(bind(stream, NOTHING, 10_999)).toMatchObject(marked);
    expect(bind(stream, NOTHING, 11_000)).toMatchObject({ metadata: undefined, inRetryChain: false });
  });
});

describe('context of callbacks', () => {
  it("calls the sink of a call in the caller's context, not in that of another inbound call", () => {
    const [own, other] = [inbound(), inbound()];
    const contexts: (CapturedCall | undefined)[] = [];
    const record = (): void => {
      contexts.push(currentInbound());
    };
    const sink = { next: record, error: record, complete: record };
    const origins = [
      runInbound(own, () => currentCallerContext()),
      currentCallerContext(),
      currentCallerContext({ inbound: own, trace: undefined }),
    ];
    const sinks = origins.map((origin) => sinkInContext(sink, origin!));
    runInbound(other, () => {
      for (const inContext of sinks) {
        inContext.next(1);
        inContext.error(new Error());
        inContext.complete();
      }
    });
    expect(contexts).toEqual([own, own, own, undefined, undefined, undefined, own, own, own]);
  });

  it("calls onHeaders and onEnd of a call in the caller's context", () => {
    const [own, other] = [inbound(), inbound()];
    const contexts: (CapturedCall | undefined)[] = [];
    const record = (): void => {
      contexts.push(currentInbound());
    };
    const given = { metadata: undefined, options: { onHeaders: record, onEnd: record, timeoutMs: 5 } };
    const { options } = runInbound(own, () => argumentsInContext(given));
    runInbound(other, () => {
      options?.onHeaders?.(undefined as never);
      options?.onEnd?.(undefined as never);
    });
    expect(contexts).toEqual([own, own]);
    expect(options?.timeoutMs).toBe(5);
    const plain = { metadata: undefined, options: { timeoutMs: 5 } };
    expect(argumentsInContext(plain)).toBe(plain);
  });

  it("forwards the return value of next() from a sink that is called in the caller's context", () => {
    runInbound(undefined, () => undefined);
    expect(sinkInContext({ ...NOOP_SINK, next: () => false }, currentCallerContext()!).next(1)).toBe(false);
  });
});
