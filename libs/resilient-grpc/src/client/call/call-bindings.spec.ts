import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { onAborted } from './call-bindings.js';

describe('onAborted', () => {
  it('calls each remaining listener once', () => {
    const controller = new AbortController();
    const called: number[] = [];
    const stops = [1, 2, 3].map((number) => onAborted(controller.signal, () => called.push(number)));
    stops[1]?.();
    controller.abort();
    expect(called).toEqual([1, 3]);
  });

  it('adds a single listener to the signal and removes it when the last registered one is removed', () => {
    const { signal } = new AbortController();
    const stops = Array.from({ length: 50 }, () => onAborted(signal, () => undefined));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const stop of stops) stop();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    onAborted(signal, () => undefined)();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('does not call a listener that another listener removes', () => {
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
