import { expect, it } from 'vitest';
import { playShows } from './shows.js';

// `npm run promises -- shows` plays twenty orders of ten actions. `npm test` builds the program that `npm start` runs.
it('never shows our card as the worst, in a random order of shows, kills, freezes, and drains', async () => {
  const played: string[] = [];
  expect(await playShows(2, 4, { DEMO_PATIENCE: '4' }, (line) => played.push(line))).toEqual([]);
  expect(played).toHaveLength(4);
}, 240_000);
