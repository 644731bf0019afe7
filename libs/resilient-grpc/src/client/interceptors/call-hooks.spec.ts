import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { CallEnd } from '../../call/call-event.js';
import type { CapturedCall } from '../../call/inbound-call.js';
import { currentInbound, runInbound } from '../caller/caller-context.js';
import {
  CallHooks,
  prepareAttempt,
  type GrpcClientInterceptor,
  type OutgoingCall,
  type PendingMetadata,
} from './call-hooks.js';

const throwNoContainer = (): never => {
  throw new Error('no container');
};
const call = (change: Partial<OutgoingCall> = {}): OutgoingCall => ({
  client: 'orders',
  service: 'orders.v1.Orders',
  method: 'Get',
  path: '/orders.v1.Orders/Get',
  kind: 'unary',
  metadata: new Metadata(),
  ...change,
});
const end = { code: 0 } as CallEnd;

describe('CallHooks', () => {
  it('runs onCall synchronously if no interceptor returns a promise', () => {
    const called: string[] = [];
    const hooks = new CallHooks(
      [{ onCall: () => void called.push('a') }, { onEnd: () => undefined }],
      throwNoContainer,
    );
    expect(hooks.onCall(call())).toBeUndefined();
    expect(called).toEqual(['a']);
  });

  it('runs asynchronous interceptors in sequence and stops at the first that fails', async () => {
    const called: string[] = [];
    const waiting = (name: string, fails = false): GrpcClientInterceptor => ({
      async onCall() {
        await Promise.resolve();
        called.push(name);
        if (fails) throw new Error(name);
      },
    });
    const hooks = new CallHooks([waiting('a'), waiting('b', true), waiting('c')], throwNoContainer);
    await expect(hooks.onCall(call())).rejects.toThrow('b');
    expect(called).toEqual(['a', 'b']);
  });

  it('resolves interceptor classes from the container once, at the first call', () => {
    class Counting {
      calls = 0;
      onCall(): void {
        this.calls += 1;
      }
    }
    const instances: Counting[] = [];
    const hooks = new CallHooks([Counting], (type) => {
      expect(type).toBe(Counting);
      const made = new Counting();
      instances.push(made);
      return made;
    });
    expect(hooks.classes).toEqual([Counting]);
    expect(instances).toEqual([]);
    void hooks.onCall(call());
    void hooks.onCall(call());
    expect(instances.map(({ calls }) => calls)).toEqual([2]);
  });

  it('runs interceptors in the context of the inbound call', () => {
    const inbound = { kind: 'http' } as CapturedCall;
    const seen: unknown[] = [];
    const hooks = new CallHooks([{ onCall: () => void seen.push(currentInbound()) }], throwNoContainer);
    // Another inbound call is current, as in a timer that another request has set.
    runInbound({ kind: 'http' } as CapturedCall, () => {
      void hooks.onCall(call({ inbound }));
      void hooks.onCall(call());
    });
    expect(seen).toEqual([inbound, undefined]);
    expect(seen[0]).toBe(inbound);
  });

  const bug = new Error('a bug in the interceptor');
  const throws = (): never => {
    throw bug;
  };
  it.each<[string, 'uncaughtException' | 'unhandledRejection', () => void]>([
    ['throws', 'uncaughtException', throws],
    ['returns a promise that rejects', 'unhandledRejection', async () => throws()],
  ])('calls onEnd of every interceptor, even if one %s, and reports the error as %s', async (_what, event, onEnd) => {
    const ended: string[] = [];
    const thrown = new Promise<unknown>((resolve) => {
      const before = process.listeners(event as 'uncaughtException');
      process.removeAllListeners(event);
      process.once(event, (error: unknown) => {
        for (const listener of before) process.on(event, listener);
        resolve(error);
      });
    });
    new CallHooks([{ onEnd }, { onEnd: () => void ended.push('b') }], throwNoContainer).onEnd(call(), end);
    expect(ended).toEqual(['b']);
    await expect(thrown).resolves.toBe(bug);
  });
});

describe('prepareAttempt', () => {
  it('lets metadata of the call override that of the metadata function, and interceptors override both', async () => {
    const metadata = new Metadata();
    metadata.set('a', 'call');
    metadata.set('b', 'call');
    const hooks = new CallHooks(
      [
        {
          onAttempt(attempt) {
            attempt.metadata.set('b', `attempt ${attempt.number} ${String(attempt.deadline?.getTime())}`);
          },
        },
      ],
      throwNoContainer,
    );
    const metadataSource = async () => {
      const given = new Metadata();
      given.set('a', 'function');
      given.set('c', 'function');
      return given;
    };
    const outgoing = call({ metadata });
    const pending = prepareAttempt(outgoing, 2, 7_000, { hooks, metadataSource }) as PendingMetadata;
    expect((await pending.metadata).getMap()).toEqual({
      a: 'call',
      b: 'attempt 2 7000',
      c: 'function',
      'grpc-previous-rpc-attempts': '1',
    });
    expect(metadata.getMap()).toEqual({ a: 'call', b: 'call' });
    const alone = prepareAttempt(outgoing, 1, Infinity, { hooks, metadataSource: undefined });
    expect((alone as Metadata).getMap()).toEqual({ a: 'call', b: 'attempt 1 undefined' });
  });
});
