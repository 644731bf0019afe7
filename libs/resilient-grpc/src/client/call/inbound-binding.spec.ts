import { describe, expect, it } from 'vitest';
import type { CapturedCall } from '../../call/inbound-call.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { currentInbound, inboundInUse, runInbound } from '../inbound-context.js';
import { messageSource } from '../requests/request-source.js';
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

const naming = (...metadata: string[]) => ({ deadline: true, cancellation: true, metadata });
const silent = { next: () => true, error: () => undefined, complete: () => undefined };

describe('an outgoing call', () => {
  it('costs nothing while nobody captures inbound calls', () => {
    // Specs share a process: in another an inbound call may have been captured before.
    expect(sinkInContext(silent) === silent).toBe(!inboundInUse());
  });

  it('is bound to the inbound call that is served where it begins', async () => {
    const [one, other] = [inbound(), inbound()];
    const bound = () => inboundBinding(naming(), undefined, clock)?.inbound;
    await Promise.all(
      [one, other].map((call) =>
        runInbound(call, async () => {
          expect(bound()).toBe(call);
          await new Promise(setImmediate);
          expect(bound()).toBe(call);
        }),
      ),
    );
    expect(bound()).toBeUndefined();
  });

  it('is bound to the one it was made in where it begins outside of any', () => {
    const [made, begun] = [inbound(), inbound()];
    expect(inboundBinding(naming(), undefined, clock, made)?.inbound).toBe(made);
    runInbound(begun, () => {
      expect(inboundBinding(naming(), undefined, clock, made)?.inbound).toBe(begun);
    });
  });

  it('is not bound where its client or itself says so', () => {
    runInbound(inbound(), () => {
      expect(inboundBinding(undefined, undefined, clock)).toBeUndefined();
      expect(inboundBinding(naming(), { propagate: false }, clock)).toBeUndefined();
      expect(inboundBinding(naming(), { propagate: undefined }, clock)).toBeDefined();
    });
  });

  it('tells whether it found one', () => {
    const found: boolean[] = [];
    const propagation = { ...naming(), note: (one: boolean) => found.push(one) };
    inboundBinding(propagation, undefined, clock);
    runInbound(inbound(), () => inboundBinding(propagation, undefined, clock));
    inboundBinding(propagation, { propagate: false }, clock);
    expect(found).toEqual([false, true]);
  });

  it('leaves out values that gRPC would not send, and reads binary ones', () => {
    const values = { 'x-text': 'a', 'x-odd': 'ä', 'x-line': 'a\nb', 'x-id-bin': 'AQI=, Aw==' };
    const binding = runInbound(inbound(values), () => inboundBinding(naming(...Object.keys(values)), undefined, clock));
    expect(binding?.metadata).toEqual({ 'x-text': 'a', 'x-id-bin': [Buffer.from([1, 2]), Buffer.from([3])] });
    const none = runInbound(inbound(), () => inboundBinding(naming('x-text'), undefined, clock));
    expect(none?.metadata).toBeUndefined();
  });
});

describe('what comes back', () => {
  it('runs in the context of who asked for it, not of who opened the connection', () => {
    const [mine, strangers] = [inbound(), inbound()];
    const heard: (CapturedCall | undefined)[] = [];
    const hear = (): void => {
      heard.push(currentInbound());
    };
    const sink = { next: hear, error: hear, complete: hear };
    const sinks = [
      runInbound(mine, () => sinkInContext(sink)),
      sinkInContext(sink),
      sinkInContext(sink, { inbound: mine, trace: undefined }),
    ];
    runInbound(strangers, () => {
      for (const one of sinks) {
        one.next(1);
        one.error(new Error());
        one.complete();
      }
    });
    expect(heard).toEqual([mine, mine, mine, undefined, undefined, undefined, mine, mine, mine]);
  });

  it('is told to callbacks in the context of who made the call', () => {
    const [mine, strangers] = [inbound(), inbound()];
    const heard: (CapturedCall | undefined)[] = [];
    const hear = (): void => {
      heard.push(currentInbound());
    };
    const given = { metadata: undefined, options: { onHeaders: hear, onEnd: hear, timeoutMs: 5 } };
    const { options } = runInbound(mine, () => argumentsInContext(given));
    runInbound(strangers, () => {
      options?.onHeaders?.(undefined as never);
      options?.onEnd?.(undefined as never);
    });
    expect(heard).toEqual([mine, mine]);
    expect(options?.timeoutMs).toBe(5);
    const plain = { metadata: undefined, options: { timeoutMs: 5 } };
    expect(argumentsInContext(plain)).toBe(plain);
  });

  it('pulls requests in the context of who sends them', async () => {
    const [mine, strangers] = [inbound(), inbound()];
    const heard: (CapturedCall | undefined)[] = [];
    async function* requests() {
      for (const one of [1, 2]) {
        heard.push(currentInbound());
        yield one;
      }
    }
    const taker = {
      maxQueuedBytes: Infinity,
      encode: (message: unknown) => message,
      bytesOf: () => 0,
      defer: setImmediate,
      onMessage: () => undefined,
      onEncodedMessage: () => undefined,
      onOverflow: () => undefined,
      onPushedAtOnce: () => undefined,
      onMessagesEnd: () => undefined,
      onMessagesError: () => undefined,
    };
    const source = runInbound(mine, () => messageSource(requests(), taker));
    for (let n = 0; n < 2; n++) {
      runInbound(strangers, () => {
        source.pull();
      });
      await new Promise(setImmediate);
    }
    expect(heard).toEqual([mine, mine]);
    void source.close();
  });

  it('keeps what the sink says of more', () => {
    runInbound(undefined, () => undefined);
    expect(sinkInContext({ ...silent, next: () => false }).next(1)).toBe(false);
  });
});
