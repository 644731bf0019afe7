import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { onAborted } from './abort-listeners.js';

describe('onAborted', () => {
  it('tells everybody who still listens, each once', () => {
    const controller = new AbortController();
    const told: number[] = [];
    const stops = [1, 2, 3].map((number) => onAborted(controller.signal, () => told.push(number)));
    stops[1]?.();
    controller.abort();
    expect(told).toEqual([1, 3]);
  });

  it('has one listener at the signal, and none when nobody listens', () => {
    const { signal } = new AbortController();
    const stops = Array.from({ length: 50 }, () => onAborted(signal, () => undefined));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const stop of stops) stop();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    onAborted(signal, () => undefined)();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('lets those who are told take others back', () => {
    const controller = new AbortController();
    const told: string[] = [];
    onAborted(controller.signal, () => {
      told.push('first');
      stopSecond();
    });
    const stopSecond = onAborted(controller.signal, () => told.push('second'));
    controller.abort();
    expect(told).toEqual(['first']);
  });
});
