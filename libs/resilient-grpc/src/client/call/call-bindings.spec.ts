import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { onAborted } from './call-bindings.js';

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
