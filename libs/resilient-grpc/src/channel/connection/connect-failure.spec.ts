import { describe, expect, it } from 'vitest';
import { plainError } from './connect-failure.js';

describe('plainError', () => {
  it("removes grpc-js's fixed phrases, its timestamp, and line breaks from a connection error", () => {
    const text =
      'No connection established. Last error: Error: it failed:\n (2026-01-01T00:00:00.000Z). Resolution note: ';
    expect(plainError(text)).toBe('it failed:');
  });

  it("removes 'undefined', which grpc-js reports for an error without a message", () => {
    expect(plainError('No connection established. Last error: undefined. Resolution note: ')).toBe('');
  });
});
