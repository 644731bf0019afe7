// npm run promises -- attacks [--only stalled,rapid --seed N --minutes 60]: each attack against this library and against Nest's server or grpc-js's client, whose
// figures it compares; with --minutes, then a churn for that time. With --whose, runs the attacks against that contender only, and prints lines of JSON:
//   node --import ./test/support/typescript.mjs test/promises/attacks/run.ts --only stalled --whose ours [--memory 512 --heap 256 --ms 3000]
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { isWithin, type Bound } from '../../support/bound.js';
import {
  Attacked,
  ATTACKS,
  KEPT_BYTES,
  planOf,
  workHonestly,
  type Contender,
  type Figures,
} from '../../transport/hostile/attack-run.js';
import { SERVER_ATTACKS } from '../../transport/hostile/attacks.js';
import { Sentinel } from '../sentinel.js';
import { tableOf } from '../table.js';
import { exitWithUsage } from '../usage.js';
import { judgeBetween, type JudgedRun } from '../watched-run.js';
import type { Judgment } from '../../scenarios/support/judge.js';

const USAGE =
  'Usage: npm run promises -- attacks [--only stalled,rapid --whose ours|theirs --memory MB --heap MB --ms N --seed N --minutes N]';
const text = { type: 'string' } as const;
const options = { only: text, whose: text, memory: text, heap: text, ms: text, scale: text, seed: text, minutes: text };
const values = parse();
const names = ATTACKS.filter((name) => values.only?.split(',').some((only) => matches(name, only)) ?? true);
if (names.length === 0 && values.minutes === undefined)
  exitWithUsage(`--only: expected names of attacks or their first words, got '${values.only}'`, USAGE);
const whose = values.whose === 'theirs' ? 'theirs' : 'ours';
if (values.whose !== undefined && values.whose !== whose)
  exitWithUsage(`--whose: expected ours or theirs, got '${values.whose}'`, USAGE);
const number = (value: string | undefined) => (value === undefined ? undefined : Number(value));
const seed = number(values.seed) ?? Math.trunc(Math.random() * 2 ** 31);
/** Containers in megabytes, in which attacks on memory run; `true` if the peak is judged. */
const CONTAINERS = [
  [256, false],
  [512, true],
  [1_024, true],
] as const;
/** Largest share of a container that an attack may fill. */
const MAX_SHARE = 0.8;
const HEAP_MB = 256;
/** Bytes of log that an attack may cause, however many it sends: lines are limited per minute. */
const MAX_LOG_BYTES = 65_536;
const ALONE_MS = 2_000;

function parse() {
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.some((word) => word !== 'attacks')) throw new Error(`unexpected ${positionals.join(' ')}`);
    return values;
  } catch (error) {
    return exitWithUsage(String(error), USAGE);
  }
}

function matches(name: string, only: string): boolean {
  return name.startsWith(only);
}

async function measure(contender: Contender, attack: string): Promise<Figures> {
  const attacked = await Attacked.start(contender, attack);
  try {
    return await attacked.run(attack, { ms: number(values.ms), scale: number(values.scale), seed }, ALONE_MS);
  } finally {
    await attacked.close();
  }
}

const row = (figure: string, value: Figures[string], bound: Bound, timed = false): Judgment => {
  const judged = value ?? NaN;
  return { figure, value: judged, bound, timed, ok: isWithin(judged, bound) };
};
const exactly = (count: number): Bound => ({ atLeast: count, atMost: count });

/** Judges the figures that do not depend on time, and what the other contender's figures allow. */
function judge(attack: string, ours: Figures, theirs: Figures): Judgment[] {
  const { limit, streams = 0, maxRunning } = planOf(attack);
  const [share, theirShare] = [Number(ours['CPU, % of a core']), Number(theirs['CPU, % of a core'])];
  const ratio = Number(ours['CPU, ns per byte']) / Number(theirs['CPU, ns per byte']);
  return [
    row('process lives', ours['lives'], exactly(1)),
    row('failed calls', ours['failed calls'], exactly(0)),
    row('answered calls', ours['answered calls'], { atLeast: 1 }),
    row('lost writes', ours['lost writes'], exactly(0)),
    row('lost streams', ours['lost streams'], exactly(0)),
    row('streams afterward', ours['streams after'], exactly(streams)),
    row('sockets afterward, more than before', ours['sockets kept'], exactly(0)),
    row('heap afterward, MB more than before', ours['heap kept, MB'], { atMost: KEPT_BYTES / 1_048_576 }),
    row('log, bytes', ours['log, bytes'], { atMost: MAX_LOG_BYTES }),
    ...(maxRunning === undefined ? [] : [row('handlers at once', ours['most running'], { atMost: maxRunning })]),
    ...(limit === undefined ? [] : [row('limits named in the log', ours['limit'] === undefined ? 0 : 1, exactly(1))]),
    // What costs them nothing has no ratio, and what ends them or stops them has no figures.
    ...(Number.isNaN(theirShare)
      ? []
      : [
          // A server sends what its client asks for, so the bytes of attacks on clients differ.
          theirShare > 1 && attack in SERVER_ATTACKS && Number.isFinite(ratio)
            ? row('CPU per byte, relative to theirs', ratio, { atMost: 2 }, true)
            : row('CPU, % of a core', share, { atMost: 2 * Math.max(1, theirShare) }, true),
          row('p99 of honest calls, ms', ours['p99, ms'], { atMost: 2 * Math.max(1, Number(theirs['p99, ms'])) }, true),
        ]),
  ];
}

/** Figures of one run that the machine's other work distorts, and the number of runs whose medians are judged if the first one breaks a bound. */
const TIMED = ['CPU, % of a core', 'CPU, ns per byte', 'p99, ms'];
const RUNS = 3;

function medianOf(runs: readonly Figures[]): Figures {
  const median = (figure: string) => {
    // A process that has ended has no figures.
    const values = runs.map((run) => Number(run[figure])).filter((value) => !Number.isNaN(value));
    return values.sort((a, b) => a - b)[Math.trunc(values.length / 2)];
  };
  return { ...runs.at(-1), ...Object.fromEntries(TIMED.map((figure) => [figure, median(figure)])) };
}

/** Judges an attack against either contender. What does not depend on time must hold in each run. */
async function judgeAttack(attack: string): Promise<Judgment[]> {
  const [ours, theirs]: [Figures[], Figures[]] = [[], []];
  const lasting: Judgment[] = [];
  const run = async () => {
    theirs.push(await measure({ whose: 'theirs' }, attack));
    ours.push(await measure({ whose: 'ours' }, attack));
    const judgments = judge(attack, ours.at(-1)!, theirs.at(-1)!);
    if (judgments.some(({ ok }) => !ok)) [ours, theirs].forEach((runs) => print(runs.at(-1)!));
    lasting.push(...judgments.filter(({ timed, ok }) => !timed && (ours.length === 1 || !ok)));
    return judgments.filter(({ timed }) => timed);
  };
  const timed = await run();
  if (timed.every(({ ok }) => ok)) return [...lasting, ...timed];
  while (ours.length < RUNS) await run();
  return [...lasting, ...judge(attack, medianOf(ours), medianOf(theirs)).filter((judgment) => judgment.timed)];
}

/** Runs an attack on memory where memory is scarce. */
async function judgeMemory(attack: string): Promise<Judgment[]> {
  const lives = (figures: Figures, where: string): Judgment => ({
    ...{ figure: `process lives @${where}`, value: Number(figures['lives']), bound: { atLeast: 1 } },
    ...{ timed: false, ok: figures['lives'] === 1 },
  });
  const judgments = [lives(await measure({ whose: 'ours', heap: HEAP_MB }, attack), `heap of ${String(HEAP_MB)} MB`)];
  for (const [memory, isJudged] of CONTAINERS) {
    const figures = await measure({ whose: 'ours', memory }, attack);
    const where = `${String(memory)} MB, ${String(figures['container'])}`;
    const value = Number(figures['peak of the container, MB'] ?? figures['peak RSS, MB']) / memory;
    const bound = isJudged ? { atMost: MAX_SHARE } : {};
    judgments.push(lives(figures, where));
    judgments.push({
      figure: `peak, share of the container @${where}`,
      value,
      bound,
      timed: false,
      ok: isWithin(value, bound),
    });
  }
  return judgments;
}

const print = (figures: Figures) => {
  const rounded = (_: string, value: unknown) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value);
  console.log(JSON.stringify(figures, rounded));
};
if (values.whose !== undefined) {
  const contender: Contender = { whose, memory: number(values.memory), heap: number(values.heap) };
  for (const attack of names) print(await measure(contender, attack));
  process.exit(0);
}

/** Honest traffic that resembles an attack: work, number of calls, megabytes of the container. */
const HONEST = [
  ['watches', 5_000, 512],
  ['calls', 20_000, 512],
  ['slow watches', 10_000, 1_024],
] as const;

console.log(`Attacks, seed ${String(seed)}`);
const sentinel = await Sentinel.start();
const runs: JudgedRun[] = [];
async function report(name: string, judgments: () => Promise<readonly Judgment[]>): Promise<void> {
  const from = Date.now();
  const errors: string[] = [];
  const judged = await judgments().catch((error: unknown) => {
    errors.push(String(error));
    return [];
  });
  const until = Date.now();
  const run = { ...(await judgeBetween(sentinel, from, until, judged)), errors, seconds: (until - from) / 1_000 };
  runs.push(run);
  console.log(tableOf(name, run));
}

for (const attack of names)
  await report(attack, async () => {
    const judgments = await judgeAttack(attack);
    if (planOf(attack).memory === true) judgments.push(...(await judgeMemory(attack)));
    return judgments;
  });
for (const [work, count, memory] of values.only === undefined ? HONEST : [])
  await report(`${String(count)} honest ${work} in ${String(memory)} MB`, async () => {
    const figures = await workHonestly(work, count, memory);
    return [row('process lives', figures['lives'], exactly(1)), row('succeeded', figures['succeeded'], exactly(count))];
  });
if (values.minutes !== undefined)
  await report(`churn of ${values.minutes} minutes`, async () => {
    const attacked = await Attacked.start({ whose: 'ours' }, 'churn');
    const figures = await attacked.churn(Number(values.minutes)).finally(() => attacked.close());
    print(figures);
    return [
      row('process lives', figures['lives'], exactly(1)),
      row('failed calls', figures['failed calls'], exactly(0)),
      row('connections', figures['connections'], { atLeast: 1_000 }),
      row('CPU, % of a core', figures['CPU, % of a core'], {}),
      row('growth of the heap', figures['growth of the heap'], { atMost: 0.05 }),
      row('growth of the resident memory', figures['growth of the resident memory'], { atMost: 0.1 }),
    ];
  });
await sentinel.close();
const rows = runs.flatMap((run) => run.rows);
const count = (verdict: string) => rows.filter((row) => row.verdict === verdict).length;
const broken = count('broken') + runs.flatMap(({ errors }) => errors).length;
console.log(`\n${String(count('kept'))} kept, ${String(broken)} broken, ${String(count('not judged'))} not judged`);
process.exit(broken > 0 ? 1 : 0);
