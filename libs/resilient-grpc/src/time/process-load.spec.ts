import { setTimeout as wait } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { eventLoopIdleMs } from './process-load.js';

it('counts as idle only the time in which the event loop waits, not the time in which the event loop runs code', async () => {
  await wait(5);
  const before = eventLoopIdleMs();
  for (const until = performance.now() + 20; performance.now() < until;);
  expect(eventLoopIdleMs()).toBe(before);
  // Ends when the idle time has grown. On a busy machine, a wait may end without idle time.
  while (eventLoopIdleMs() <= before) await wait(5);
});
