import { expect, it } from 'vitest';
import { recordTiming } from '../support/timing.js';
import { playShows } from './shows.js';

/** Number of orders of ten actions. If it is not set, one shorter order is played at a pace that any machine keeps. */
const ORDERS = Number(process.env['DEMO_ORDERS'] ?? 0);

// `npm test` builds the program that `npm start` runs.
it(
  'never shows our card as the worst, in random orders of shows, kills, freezes, and drains',
  { tags: ['timed'], timeout: 240_000 * (ORDERS + 1) },
  async ({ task }) => {
    const worst: string[] = [];
    for (let seed = 1; seed <= ORDERS; seed++) worst.push(...(await playShows(seed, 10)));
    const figure = ['actions after which our card was the worst', ...worst].join('; ');
    recordTiming(task, figure, worst.length, { atMost: 0 });
    if (ORDERS === 0) expect(await playShows(2, 4, { DEMO_PATIENCE: '4' })).toEqual([]);
  },
);
