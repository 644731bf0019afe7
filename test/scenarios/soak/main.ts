// npm run soak [-- --minutes 30 --seed N --only a,b --play-seed N]: every situation in full, again and again, in an order drawn by the seed. Ends
// with what it found and what is left; the exit code is 1 where a promise was broken, a situation was
// never played or handles are left. Ctrl-C ends it in order, twice at once.
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { missingPython } from '../support/kinds.js';
import { allSituations } from '../support/situations.js';
import { leftHandles, report } from './report.js';
import { soak } from './soak.js';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string' },
    only: { type: 'string' },
    'play-seed': { type: 'string' },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Math.trunc(Math.random() * 2 ** 31));
const playSeed = values['play-seed'] === undefined ? undefined : Number(values['play-seed']);
if (!(minutes > 0) || !Number.isInteger(seed) || !Number.isInteger(playSeed ?? 0))
  throw new Error('Usage: npm run soak [-- --minutes 30 --seed N --only a,b --play-seed N]');

const all = await allSituations();
const situations = (values.only?.split(',') ?? [...all.keys()]).map((name) => {
  const situation = all.get(name);
  if (situation === undefined)
    throw new Error(`There is no situation '${name}'. There are: ${[...all.keys()].join(', ')}`);
  return situation;
});
const interrupted = new AbortController();
process.once('SIGINT', () => {
  console.log('Interrupted; once more ends it at once.');
  process.once('SIGINT', () => process.exit(130));
  interrupted.abort(new Error('interrupted'));
});
if (missingPython !== undefined) console.log(missingPython);
console.log(`For ${minutes} minutes, seed ${seed}: ${situations.map(({ name }) => name).join(', ')}`);

const { signal } = interrupted;
const { tallies, held } = await soak(situations, { minutes, seed, playSeed, signal, say: (line) => console.log(line) });
console.log(`\n${report(tallies, held)}`);
// Of a play that was interrupted something may still run; it is nobody's any more.
const isWell = [...tallies.values()].every(({ plays, failures }) => plays > 0 && failures.length === 0);
process.exit(isWell && leftHandles(held) === 0 ? 0 : 1);
