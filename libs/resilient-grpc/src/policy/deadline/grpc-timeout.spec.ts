import { describe, expect, it } from 'vitest';
import { formatGrpcTimeout, parseGrpcTimeout } from './grpc-timeout.js';

describe('grpc-timeout', () => {
  it.each([
    ['2H', 7_200_000],
    ['3M', 180_000],
    ['1S', 1_000],
    ['500m', 500],
    ['1500u', 1.5],
    ['2000000n', 2],
    ['0m', 0],
    ['99999999H', 99_999_999 * 3_600_000],
    ['', undefined],
    ['500', undefined],
    ['500ms', undefined],
    ['-1S', undefined],
    ['1.5S', undefined],
    ['123456789m', undefined],
    [' 1S', undefined],
  ])('parses the grpc-timeout %o into milliseconds: %o', (text, ms) => {
    expect(parseGrpcTimeout(text)).toBe(ms);
  });

  it.each([
    [1, '1m'],
    [0.5, '1m'],
    [1_500, '1500m'],
    [99_999_999, '99999999m'],
    [100_000_000, undefined],
    [Infinity, undefined],
  ])('formats %d ms as the grpc-timeout %o', (ms, text) => {
    expect(formatGrpcTimeout(ms)).toBe(text);
  });
});
