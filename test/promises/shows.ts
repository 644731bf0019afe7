// npm run promises -- shows [--orders 20 --seed N]: the demo in random orders of ten actions. Our card must never be the worst.
import { parseArgs } from 'node:util';
import { playShows, type Worst } from '../demo/shows.js';
import { Sentinel } from './sentinel.js';
import { tableOf } from './table.js';
import { judgeBetween } from './watched-run.js';

const text = { type: 'string' } as const;
const { values } = parseArgs({ options: { orders: text, seed: text }, allowPositionals: true });
const first = Number(values.seed ?? Math.trunc(Math.random() * 2 ** 31));

const sentinel = await Sentinel.start();
let broken = 0;
for (let seed = first; seed < first + Number(values.orders ?? 20); seed++) {
  const from = Date.now();
  const errors: string[] = [];
  let worst: readonly Worst[] = [];
  try {
    worst = await playShows(seed, 10);
  } catch (error) {
    errors.push(String(error));
  }
  const until = Date.now();
  const figure = 'actions after which our card was the worst';
  const judgment = { figure, value: worst.length, bound: { atMost: 0 }, timed: true, ok: worst.length === 0 };
  const judged = await judgeBetween(sentinel, from, until, [judgment]);
  console.log(tableOf(`seed ${seed}`, { ...judged, errors, seconds: (until - from) / 1_000 }));
  for (const { after, lost } of worst) console.log(`  ${after.join(', ')}: ${JSON.stringify(lost)}`);
  if (errors.length > 0 || judged.rows.some(({ verdict }) => verdict === 'broken')) broken += 1;
}
await sentinel.close();
console.log(`\n${broken} orders broken`);
process.exit(broken > 0 ? 1 : 0);
