import { expect, it } from 'vitest';
import { waitFor } from '../testing/wait-for.js';
import { eventLoopIdleMs } from './clock.js';

it('counts as idle only the time in which the event loop waits, not the time in which the event loop runs code', async () => {
  const before = eventLoopIdleMs();
  for (const until = performance.now() + 20; performance.now() < until;);
  expect(eventLoopIdleMs()).toBe(before);
  await waitFor(() => eventLoopIdleMs() > before);
});
