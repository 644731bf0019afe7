// npm run soak [-- --minutes 30 --seed N --only a,b --run-seed N]: repeatedly runs every scenario whose programs are
// installed. Runs the scenarios in full, in an order drawn from the seed, and judges the runs as `npm run promises` does. The exit code is
// 1 if a promise was broken, a scenario was never run, or handles stay open. Ctrl-C ends the soak after the cleanup of the current run; a
// second Ctrl-C exits immediately.
import 'reflect-metadata';
import { allScenarios } from '../../scenarios/support/scenarios.js';
import { isInstalled, missingPrograms } from '../../support/programs.js';
import { Sentinel } from '../sentinel.js';
import { exitWithUsage, parseOptions } from '../usage.js';
import { leakedHandles, report } from './report.js';
import { soak } from './soak.js';

const USAGE = 'Usage: npm run soak [-- --minutes 30 --seed N --only a,b --run-seed N]';

const values = parseOptions(
  {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string' },
    only: { type: 'string' },
    'run-seed': { type: 'string' },
  },
  USAGE,
);
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Math.trunc(Math.random() * 2 ** 31));
const runSeed = values['run-seed'] === undefined ? undefined : Number(values['run-seed']);
if (!(minutes > 0)) exitWithUsage(`--minutes: expected a number above 0, got '${values.minutes}'`, USAGE);
if (!Number.isInteger(seed)) exitWithUsage(`--seed: expected an integer, got '${values.seed}'`, USAGE);
if (!Number.isInteger(runSeed ?? 0))
  exitWithUsage(`--run-seed: expected an integer, got '${values['run-seed']}'`, USAGE);

const all = await allScenarios();
const scenarios = (values.only?.split(',') ?? [...all.keys()]).map((name) => {
  const scenario = all.get(name);
  if (scenario === undefined)
    exitWithUsage(
      `--only: expected scenarios, got '${name}'; write names from this list: ${[...all.keys()].join(', ')}`,
      USAGE,
    );
  return scenario;
});
const runnable = scenarios.filter(({ needs = [] }) => needs.every(isInstalled));
if (runnable.length === 0) throw new Error(`Not installed: ${missingPrograms().join(', ')}`);
const interrupted = new AbortController();
process.once('SIGINT', () => {
  console.log('Interrupted; press Ctrl-C again to exit without cleaning up.');
  process.once('SIGINT', () => process.exit(130));
  interrupted.abort(new Error('interrupted'));
});
if (missingPrograms().length > 0) console.log(`Not installed: ${missingPrograms().join(', ')}`);
console.log(`For ${minutes} minutes, seed ${seed}: ${runnable.map(({ name }) => name).join(', ')}`);

const { signal } = interrupted;
const sentinel = await Sentinel.start();
const printLine = (line: string) => {
  console.log(line);
};
const { tallies, held } = await soak(runnable, { minutes, seed, runSeed, signal, sentinel, report: printLine });
await sentinel.close();
console.log(`\n${report(tallies, held)}`);
// Exits explicitly, because an interrupted run may leave open resources.
const hasPassed = [...tallies.values()].every(({ runs, failures }) => runs > 0 && failures.length === 0);
process.exit(hasPassed && leakedHandles(held) === 0 ? 0 : 1);
