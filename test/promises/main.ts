// npm run promises [-- --full --only a,b --seed N --strict --counts --half 1]: runs every situation, then every test that records a
// timing, one at a time. Prints each measurement with its bound and its verdict. A timed bound that does not hold on a busy machine is
// 'not judged'. The exit code is 1 if a promise is broken, if a test file has no result, or if the run is interrupted; with --strict, also
// if a bound was not judged. --counts, for CI, omits the tests and, as `npm test` does, judges only the counts of situations. With
// --counts, --half 1 or 2 runs one half of the situations, so that two processes can share the work.
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { seededRandom } from 'nestjs-resilient-grpc/testing';
import { allSituations } from '../scenarios/support/situations.js';
import { forgetLines } from '../support/orders-app.js';
import { missingPrograms, skipWithout } from '../support/programs.js';
import { Sentinel } from './sentinel.js';
import { tableOf } from './table.js';
import { runTimedTests, timedFiles } from './timed-tests.js';
import { playWatched, problemsOf, type JudgedRun } from './watched-play.js';

const USAGE = 'Usage: npm run promises [-- --full --only situation,test/file --seed N --strict --counts --half 1|2]';

const { values } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    only: { type: 'string' },
    seed: { type: 'string' },
    strict: { type: 'boolean', default: false },
    counts: { type: 'boolean', default: false },
    half: { type: 'string' },
  },
});
const seed = Number(values.seed ?? Math.trunc(Math.random() * 2 ** 31));
if (!Number.isInteger(seed)) throw new Error(`--seed: expected an integer, got '${values.seed}'. ${USAGE}`);

if (values.half !== undefined && !(values.counts && ['1', '2'].includes(values.half)))
  throw new Error(`--half: expected 1 or 2, with --counts, got '${values.half}'. ${USAGE}`);

const situations = await allSituations();
const files = timedFiles();
if (values.only?.split(',').includes('') === true)
  throw new Error(`--only: expected names separated by commas, got '${values.only}'. ${USAGE}`);
const chosen = values.only?.split(',') ?? [...situations.keys(), ...files];
const unknown = chosen.filter((name) => !situations.has(name) && !files.includes(name));
if (unknown.length > 0)
  throw new Error(
    `--only: expected situations or files, got '${unknown.join(', ')}'; write names from this list: ${[...situations.keys(), ...files].join(', ')}`,
  );
const chosenFiles = values.counts ? [] : files.filter((file) => chosen.includes(file));
if (values.counts && values.only !== undefined && files.some((file) => chosen.includes(file)))
  throw new Error(
    `--counts: expected only situations in --only, got '${values.only}'; omit --counts or the files. ${USAGE}`,
  );

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
for (const [index, [name, situation]] of [...situations].entries()) {
  // Drawn for every situation, so that a seed repeats a run regardless of `--only`.
  const playSeed = Math.trunc(random() * 2 ** 31);
  const isOfOtherHalf = values.half !== undefined && String((index % 2) + 1) !== values.half;
  if (!chosen.includes(name) || isOfOtherHalf || interrupted.signal.aborted) continue;
  const [isSkipped, note] = skipWithout(...(situation.needs ?? []));
  if (isSkipped) {
    console.log(`${name}: skipped, because ${note}`);
    continue;
  }
  const lines: string[] = [];
  const run = await playWatched(
    situation,
    {
      length: values.full ? 'full' : 'short',
      which: values.counts ? 'counts' : 'all',
      seed: playSeed,
      say: (line) => void lines.push(line),
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
if (open > 0) console.log('The machine was too busy to judge every bound. Run the command again on an idle machine.');
const failed = broken + (values.strict ? open : 0);
// Exits explicitly, because an interrupted run may leave open resources.
process.exit(failed > 0 || interrupted.signal.aborted ? 1 : 0);
