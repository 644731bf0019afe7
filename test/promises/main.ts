// npm run promises [-- --full --only a,b --seed N --strict]: runs every scenario whose programs are installed, then every test that
// records a timing, one at a time. Prints each measurement with its bound and its verdict. A timed bound that does not hold on a busy
// machine is 'not judged'. `npm run promises -- attacks` runs attacks/run.ts instead, `-- versus` runs versus/run.ts, and `-- writes` runs
// writes/run.ts. The exit code is 1 if a promise is broken, if a test file has no result, or if the run is interrupted; with --strict, also if
// a bound was not judged.
import 'reflect-metadata';
import { seededRandom } from '../unit-support/seeded-random.mjs';
import { allScenarios } from '../scenarios/support/scenarios.js';
import { forgetLines } from '../support/orders-app.js';
import { missingPrograms, skipWithout } from '../support/programs.js';
import { Sentinel } from './sentinel.js';
import { tableOf } from './table.js';
import { runTimedTests, timedFiles } from './timed-tests.js';
import { exitWithUsage, parseOptions } from './usage.js';
import { runWatched, problemsOf, type JudgedRun } from './watched-run.js';

// Each ends the process.
if (process.argv[2] === 'attacks') await import('./attacks/run.js');
if (process.argv[2] === 'versus') await import('./versus/run.js');
if (process.argv[2] === 'writes') await import('./writes/run.js');

const USAGE = 'Usage: npm run promises [-- --full --only scenario,test/file --seed N --strict]';

const values = parseOptions(
  {
    full: { type: 'boolean', default: false },
    only: { type: 'string' },
    seed: { type: 'string' },
    strict: { type: 'boolean', default: false },
  },
  USAGE,
);
const seed = Number(values.seed ?? Math.trunc(Math.random() * 2 ** 31));
if (!Number.isInteger(seed)) exitWithUsage(`--seed: expected an integer, got '${values.seed}'`, USAGE);

const scenarios = await allScenarios();
const files = timedFiles();
if (values.only?.split(',').includes('') === true)
  exitWithUsage(`--only: expected names separated by commas, got '${values.only}'`, USAGE);
const chosen = values.only?.split(',') ?? [...scenarios.keys(), ...files];
const unknown = chosen.filter((name) => !scenarios.has(name) && !files.includes(name));
if (unknown.length > 0)
  exitWithUsage(
    `--only: expected scenarios or files, got '${unknown.join(', ')}'; write names from this list: ${[...scenarios.keys(), ...files].join(', ')}`,
    USAGE,
  );
const chosenFiles = files.filter((file) => chosen.includes(file));

const interrupted = new AbortController();
process.once('SIGINT', () => {
  console.log('Interrupted; press Ctrl-C again to exit without cleaning up.');
  process.once('SIGINT', () => process.exit(130));
  interrupted.abort(new Error('interrupted'));
});

const runs: JudgedRun[] = [];
const report = (name: string, run: JudgedRun) => {
  runs.push(run);
  console.log(tableOf(name, run));
};

const sentinel = await Sentinel.start();
const random = seededRandom(seed);
console.log(`Promises, seed ${seed}${values.full ? ', in full' : ''}`);
if (missingPrograms().length > 0) console.log(`Not installed: ${missingPrograms().join(', ')}`);
for (const [name, scenario] of scenarios) {
  // Draws a seed even for a scenario that does not run, so that `--seed` repeats a run regardless of `--only`.
  const runSeed = Math.trunc(random() * 2 ** 31);
  if (!chosen.includes(name) || interrupted.signal.aborted) continue;
  const [isSkipped, note] = skipWithout(...(scenario.needs ?? []));
  if (isSkipped) {
    console.log(`${name}: skipped, because ${note}`);
    continue;
  }
  const lines: string[] = [];
  const run = await runWatched(
    scenario,
    {
      length: values.full ? 'full' : 'short',
      which: 'all',
      seed: runSeed,
      report: (line) => void lines.push(line),
      signal: interrupted.signal,
    },
    sentinel,
  );
  report(name, run);
  if (problemsOf(run).length > 0) console.log(lines.map((line) => `  ${line}`).join('\n'));
  forgetLines();
}
if (chosenFiles.length > 0 && !interrupted.signal.aborted)
  await runTimedTests(chosenFiles, sentinel, (test) => {
    report(test.name, test);
  });
await sentinel.close();

const count = (verdict: string) => runs.flatMap(({ rows }) => rows).filter((row) => row.verdict === verdict).length;
const errors = runs.reduce((sum, run) => sum + run.errors.length, 0);
const [broken, open] = [count('broken') + errors, count('not judged')];
console.log(`\n${count('kept')} kept, ${broken} broken, ${open} not judged`);
if (open > 0)
  console.log('The machine was too busy to judge some of the bounds. Run the command again on an idle machine.');
const failed = broken + (values.strict ? open : 0);
// Exits explicitly, because an interrupted run may leave open resources.
process.exit(failed > 0 || interrupted.signal.aborted ? 1 : 0);
