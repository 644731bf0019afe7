import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { nextRefusal } from './refusal.js';

describe('nextRefusal', () => {
  it.each([
    [0, 0, status.UNAVAILABLE, ['-1']],
    [0.124, 0.5, status.RESOURCE_EXHAUSTED, ['-1']],
    [0.125, 0.499, status.UNAVAILABLE, ['300']],
    [0.249, 0.9, status.RESOURCE_EXHAUSTED, ['300']],
    [0.25, 0, status.UNAVAILABLE, []],
    [0.99, 0.99, status.RESOURCE_EXHAUSTED, []],
  ])('maps the random values %d and %d to a refusal with code %i and pushback %j', (first, second, code, pushback) => {
    const draws = [first, second];
    const refusal = nextRefusal(() => draws.shift()!);
    expect(refusal.code).toBe(code);
    expect(refusal.metadata.get('grpc-retry-pushback-ms')).toEqual(pushback);
  });
});
