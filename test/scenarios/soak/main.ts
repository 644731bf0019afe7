// npm run soak [-- --minutes 30 --seed N --only a,b]: every situation in full, again and again, in an order drawn by the seed. Ends
// with what it found and what is left; the exit code is 1 where a promise was broken. Ctrl-C ends it in order, twice at once.
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { missingPython } from '../support/kinds.js';
import { allSituations } from '../support/situations.js';
import { report } from './report.js';
import { soak } from './soak.js';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '30' }, seed: { type: 'string' }, only: { type: 'string' } },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Math.trunc(Math.random() * 2 ** 31));
if (!(minutes > 0) || !Number.isInteger(seed))
  throw new Error('Usage: npm run soak [-- --minutes 30 --seed N --only a,b]');

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
const { tallies, held } = await soak(situations, { minutes, seed, signal, say: (line) => console.log(line) });
console.log(`\n${report(tallies, held)}`);
// Of a play that was interrupted something may still run; it is nobody's any more.
process.exit([...tallies.values()].some(({ failures }) => failures.length > 0) ? 1 : 0);
