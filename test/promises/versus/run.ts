// npm run promises -- versus [--seed N --minutes 60 --seconds 90 --rate 50 --transport socket|grpc-js]: random schedules of faults, with
// clients of this library and Nest's side by side. Repeats each schedule that breaks a bound, and shrinks it if it breaks again in most of
// the repeats. --schedule FILE runs one schedule, as printed, --repeats times (1). --simulated N runs N schedules in virtual time instead;
// --as-simulated runs schedules of the same kinds in real time, and compares the failures of Nest's clients with those in virtual time.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { seededRandom } from '../../unit-support/seeded-random.mjs';
import { exitWithUsage } from '../usage.js';
import {
  breaksOf,
  ByKind,
  failedOf,
  outagesOf,
  whyVoid,
  wronglyEndedBy,
  type Break,
  type Figures,
  type Run,
} from './judge.js';
import { runSchedule, type WatchedRun } from './run-schedule.js';
import { drawSchedule, kindOf, shrink, SIDES, type Schedule, type Side } from './schedule.js';
import { drawSimulated, simulateSchedule } from './simulated-run.js';

const USAGE =
  'Usage: npm run promises -- versus [--seed N --minutes N --seconds N --rate N --transport socket|grpc-js --schedule FILE --repeats N --simulated N --as-simulated]';
const text = { type: 'string' } as const;
const options = {
  ...{ seed: text, minutes: text, seconds: text, rate: text, transport: text, schedule: text, repeats: text },
  ...{ simulated: text, 'as-simulated': { type: 'boolean' } as const },
};

function parse() {
  try {
    const { values } = parseArgs({ args: process.argv.slice(3), options });
    return values;
  } catch (error) {
    return exitWithUsage(String(error), USAGE);
  }
}

function numberOf(name: keyof typeof values, otherwise: number): number {
  const value = values[name] === undefined ? otherwise : Number(values[name]);
  return value > 0
    ? value
    : exitWithUsage(`--${name}: expected a number above 0, got '${String(values[name])}'`, USAGE);
}

const values = parse();
const seed = numberOf('seed', 1 + Math.trunc(Math.random() * 2 ** 31));
const minutes = numberOf('minutes', 60);
const repeats = numberOf('repeats', 1);
const { transport } = values;
if (transport !== undefined && transport !== 'socket' && transport !== 'grpc-js')
  exitWithUsage(`--transport: expected socket or grpc-js, got '${transport}'`, USAGE);

/** Repeats of a schedule that breaks a bound, and in how many it must break to count. */
const [REPEATS, BROKEN_REPEATS] = [5, 3];
/** Runs of a smaller schedule, and in how many it must break to be taken. */
const [SHRINK_RUNS, SHRINK_BROKEN] = [3, 2];
/** Calls per second of a client in virtual time, and the share by which failures of plain clients may differ from real ones. */
const SIMULATED_RATE = 10;
const SIMULATED_SHARE = 0.1;
const MAX_VOID_SHARE = 0.1;
/** In an hour, each kind of fault occurs at least so often. */
const PER_HOUR = 10;
const KINDS = [
  'kill',
  'freeze',
  'refuse',
  'reset',
  'slow',
  'goaway',
  'answer 401',
  'answer 404',
  'answer 429',
  'answer 502',
  'line',
];

const pair = ({ ours, theirs }: Figures) => `${ours.toFixed(0)} : ${theirs.toFixed(0)}`;
const breakText = ({ what, ours, theirs, allowed }: Break) =>
  `${what}: ${pair({ ours, theirs })}, allowed ${allowed.toFixed(0)}`;

function print(run: WatchedRun, breaks: readonly Break[]): void {
  const { schedule, lateMs } = run;
  const isVoid = whyVoid(run);
  const verdict = isVoid === undefined ? (breaks.length > 0 ? 'BROKEN' : 'kept') : `void: ${isVoid}`;
  const late = `late ${pair(lateMs)} ms`;
  console.log(
    `${JSON.stringify(schedule)}\n  ${String(run.calls.length)} calls, failed ${pair(failedOf(run))}, ${late}: ${verdict}`,
  );
  for (const { fault, failed, firstMs, lastMs } of outagesOf(run)) {
    const what = `${(fault.atMs / 1_000).toFixed(1)} s ${kindOf(fault)} for ${(fault.forMs / 1_000).toFixed(1)} s on ${fault.on.join()}`;
    console.log(`    ${what.padEnd(42)} failed ${pair(failed)}, first ${pair(firstMs)} ms, last ${pair(lastMs)} ms`);
  }
  for (const end of wronglyEndedBy(run, 'ours')) console.log(`    ended: ${JSON.stringify(end)}`);
  for (const broken of breaks) console.log(`  BROKEN ${breakText(broken)}`);
  if (values.schedule === undefined) return;
  const codeOf = (side: Side, id: number) => run.ended[side][id]?.code;
  for (const { id, client, atMs, method, deadlineMs } of run.calls)
    if (codeOf('ours', id) !== codeOf('theirs', id)) {
      const ends = SIDES.map(
        (side) => `${side} ${String(codeOf(side, id))} at ${String(run.ended[side][id]?.endMs)} ms`,
      );
      console.log(
        `      ${String(atMs)} ms ${method} of ${String(client)} for ${String(deadlineMs)} ms: ${ends.join(', ')}`,
      );
    }
  for (const { at, ...event } of run.events.filter(({ client }) => client === 'orders-0'))
    console.log(`      ${String(at - run.startedAt)} ms ${JSON.stringify(event)}`);
}

async function run(schedule: Schedule): Promise<{ readonly run: WatchedRun; readonly breaks: readonly Break[] }> {
  const result = await runSchedule(schedule);
  const breaks = whyVoid(result) === undefined ? breaksOf(result) : [];
  print(result, breaks);
  return { run: result, breaks };
}

/** True if `schedule` breaks a bound in `needed` of `runs` runs. */
async function breaksAgain(schedule: Schedule, needed: number, runs: number): Promise<boolean> {
  let broken = 0;
  for (let left = runs; left > 0 && broken < needed && broken + left >= needed; left -= 1)
    broken += (await run(schedule)).breaks.length > 0 ? 1 : 0;
  return broken >= needed;
}

if (values.schedule !== undefined) {
  // The cast is safe for what this program has printed.
  const schedule = JSON.parse(readFileSync(values.schedule, 'utf8')) as Schedule;
  let broken = 0;
  for (let index = 0; index < repeats; index += 1) broken += (await run(schedule)).breaks.length > 0 ? 1 : 0;
  console.log(`\n${String(repeats - broken)} kept, ${String(broken)} broken`);
  process.exit(broken > 0 ? 1 : 0);
}

function printKinds(byKind: ByKind): void {
  console.log('\nFailed calls by kind of fault, ours : theirs');
  for (const [kind, { count, failed }] of byKind.kinds)
    console.log(`  ${kind.padEnd(12)}${String(count).padStart(4)} times, ${pair(failed)}`);
}

/** Bounds of failed calls that a schedule breaks in virtual time. Its times are those of a model, above all after freezes. */
function simulatedBreaks(run: Run): readonly Break[] {
  return breaksOf(run).filter(({ what }) => what.startsWith('failed calls'));
}

async function runSimulated(count: number): Promise<number> {
  const random = seededRandom(seed);
  const byKind = new ByKind();
  const given = { seconds: numberOf('seconds', 90), rate: numberOf('rate', SIMULATED_RATE) };
  let broken = 0;
  for (let index = 0; index < count; index += 1) {
    const schedule = drawSimulated(Math.trunc(random() * 2 ** 31), given);
    const simulated = simulateSchedule(schedule);
    byKind.add(simulated);
    if (simulatedBreaks(simulated).length === 0) continue;
    broken += 1;
    const breaks = (candidate: Schedule) => simulatedBreaks(simulateSchedule(candidate));
    const smallest = await shrink(schedule, (candidate) => Promise.resolve(breaks(candidate).length > 0));
    console.log(`${JSON.stringify(smallest)}\n  BROKEN ${breaks(smallest).map(breakText).join('; ')}`);
  }
  printKinds(byKind);
  const failures = byKind.breaks();
  for (const failure of failures) console.log(`BROKEN ${breakText(failure)}`);
  console.log(`\n${String(count - broken)} kept, ${String(broken + failures.length)} broken`);
  return broken + failures.length;
}

if (values.simulated !== undefined) {
  console.log(`Versus in virtual time, seed ${String(seed)}`);
  process.exit((await runSimulated(numberOf('simulated', 1))) > 0 ? 1 : 0);
}

console.log(`Versus, seed ${String(seed)}, ${String(minutes)} minutes`);
const random = seededRandom(seed);
const byKind = new ByKind();
const smallest: Schedule[] = [];
/** Failures of plain clients in virtual time, and in real time. */
const plain = { simulated: 0, real: 0 };
let [kept, broken, voids, ranMs] = [0, 0, 0, 0];
while (ranMs < minutes * 60_000) {
  const draw = values['as-simulated'] === true ? drawSimulated : drawSchedule;
  const schedule = draw(Math.trunc(random() * 2 ** 31), {
    ...{ seconds: numberOf('seconds', 90), rate: numberOf('rate', 50) },
    ...(transport && { transport }),
  });
  const { run: result, breaks } = await run(schedule);
  // The time of repeats and of shrinking does not count.
  ranMs += schedule.seconds * 1_000;
  if (whyVoid(result) !== undefined) {
    voids += 1;
    continue;
  }
  byKind.add(result);
  if (values['as-simulated'] === true) {
    const simulated = failedOf(simulateSchedule(schedule));
    console.log(`  in virtual time, failed ${pair(simulated)}`);
    plain.simulated += simulated.theirs;
    plain.real += failedOf(result).theirs;
  }
  if (breaks.length === 0 || !(await breaksAgain(schedule, BROKEN_REPEATS - 1, REPEATS - 1))) kept += 1;
  else {
    broken += 1;
    smallest.push(await shrink(schedule, (candidate) => breaksAgain(candidate, SHRINK_BROKEN, SHRINK_RUNS)));
  }
}

printKinds(byKind);
if (values['as-simulated'] === true)
  console.log(
    `Failed calls of plain clients: ${String(plain.simulated)} in virtual time, ${String(plain.real)} in real time`,
  );
const failures = [
  ...byKind.breaks().map(breakText),
  ...(voids > MAX_VOID_SHARE * (kept + broken + voids) ? [`${String(voids)} runs were void; use an idle machine`] : []),
  ...(Math.abs(plain.simulated - plain.real) > SIMULATED_SHARE * plain.real
    ? ["the simulation's plain clients do not fail as Nest's do"]
    : []),
  ...(minutes >= 60 && values['as-simulated'] !== true
    ? KINDS.filter((kind) => (byKind.kinds.get(kind)?.count ?? 0) < PER_HOUR).map(
        (kind) => `${kind} occurred too rarely`,
      )
    : []),
];
for (const failure of failures) console.log(`BROKEN ${failure}`);
for (const schedule of smallest) console.log(`Repeat with --schedule FILE:\n${JSON.stringify(schedule)}`);
console.log(`\n${String(kept)} kept, ${String(broken + failures.length)} broken, ${String(voids)} void`);
process.exit(broken + failures.length > 0 ? 1 : 0);
