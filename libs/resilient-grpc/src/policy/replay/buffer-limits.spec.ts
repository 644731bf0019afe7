import { expect, it } from 'vitest';
import { bufferLimits } from './buffer-limits.js';

it.each([
  [
    { messages: 10, bytes: 100 },
    { messages: 1_000, bytes: 2 ** 20 },
  ],
  [
    { messages: 5_000, bytes: 2 ** 24 },
    { messages: 5_000, bytes: 2 ** 24 },
  ],
  [
    { messages: 10, bytes: Infinity },
    { messages: 1_000, bytes: Infinity },
  ],
])('bufferLimits raises %o to at least 1,000 messages and 1 MiB', (limits, held) => {
  expect(bufferLimits(limits)).toEqual(held);
});
