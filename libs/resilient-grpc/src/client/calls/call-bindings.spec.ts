import { EventEmitter, getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { GrpcCallOptions } from '../resilient-types.js';
import type { CallFailure } from '../attempts/call-failure.js';
import { bindCall, onAborted } from './call-bindings.js';

describe('onAborted', () => {
  it('calls each remaining abort listener once when the signal aborts', () => {
    const controller = new AbortController();
    const called: number[] = [];
    const stops = [1, 2, 3].map((number) => onAborted(controller.signal, () => called.push(number)));
    stops[1]?.();
    controller.abort();
    expect(called).toEqual([1, 3]);
  });

  it('adds one listener to an abort signal, and removes it when the last registration is removed', () => {
    const { signal } = new AbortController();
    const stops = Array.from({ length: 50 }, () => onAborted(signal, () => undefined));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const stop of stops) stop();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    onAborted(signal, () => undefined)();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('does not call an abort listener that another listener removes', () => {
    const controller = new AbortController();
    const called: string[] = [];
    onAborted(controller.signal, () => {
      called.push('first');
      stopSecond();
    });
    const stopSecond = onAborted(controller.signal, () => called.push('second'));
    controller.abort();
    expect(called).toEqual(['first']);
  });
});

describe('parent of a call', () => {
  /** Binds a call to `parent`. Returns its failures, and the function that unbinds it. */
  function bind(parent: EventEmitter, onEnd: () => void = () => undefined) {
    const failures: CallFailure[] = [];
    const end = (failure: CallFailure): void => {
      failures.push(failure);
      onEnd();
    };
    // Safe: only the events of the parent are used.
    const options = { parent } as unknown as GrpcCallOptions;
    return { failures, unbind: bindCall(options, undefined, { end }) };
  }

  it("adds one listener to a parent, and raises the limit of Node's leak warning by one", () => {
    const parent = new EventEmitter();
    for (let call = 0; call < 50; call += 1) bind(parent).unbind?.();
    for (let call = 0; call < 50; call += 1) bind(parent);
    expect(parent.listenerCount('cancelled')).toBe(1);
    expect(parent.getMaxListeners()).toBe(EventEmitter.defaultMaxListeners + 1);
  });

  it("does not change the listener limit of a parent if Node's leak warning is disabled", () => {
    const parent = new EventEmitter().setMaxListeners(0);
    bind(parent);
    expect(parent.getMaxListeners()).toBe(0);
  });

  it('ends the calls of a cancelled parent, except calls that were already unbound or that another call unbinds as it ends', () => {
    const parent = new EventEmitter();
    const calls = [bind(parent), bind(parent, () => calls[2]?.unbind?.()), bind(parent), bind(parent)];
    calls[0]?.unbind?.();
    parent.emit('cancelled');
    const failure = { code: 1, reason: 'cancelled', details: 'Cancelled by parent call' };
    expect(calls.map(({ failures }) => failures)).toMatchObject([[], [failure], [], [failure]]);
  });
});
