import { parseArgs } from 'node:util';
import {
  ALL_CONTENDERS,
  BASELINE,
  CHANNEL,
  CLASSIC,
  CONTENDERS,
  POLICIES,
  RETRY_BUFFERS,
  TELEMETRY,
  NO_TELEMETRY,
} from './contenders.mjs';
import { OVERLOADED_SERVERS, OVERLOAD_WORK } from './overload/measure.mjs';
import { SERVERS } from './servers/measure.mjs';
import { WORKLOADS } from './workloads.mjs';

/** The benchmarks of the overall table, in its order. */
const TABLE_BENCHES = /** @type {const} */ ([
  'unary',
  'stream',
  'upload',
  'bidi',
  'open-streams',
  'slow-readers',
  'recovery',
  'first-call',
  'package',
]);

/** Printed with each usage error. */
export const USAGE = `Usage: npm run bench -- [name] [options]
Without a name, runs all benchmarks of the table and prints it (about 50 minutes). With a name, runs only that benchmark. Benchmarks of the table:
  ${TABLE_BENCHES.join(', ')}
Other benchmarks:
  telemetry, memory, many-streams   this library alone
  server, overload                  this library's server compared with others
  --rounds N          measured rounds (60; unary: 120; open-streams: 15; slow-readers: 3;
                      first-call: 11, in the overall table: 7; overload: 5)
  --seconds S         unary, stream, upload, bidi, telemetry, server: duration per contender, workload, and round (0.2);
                      overload: duration of each load (5)
  --in-flight A,B     unary, telemetry, server: concurrent calls (1,32,512; telemetry, server: 32)
  --size A,B          stream, upload, bidi, memory: message size in bytes (100,1024,65536; memory: 1024,65536)
  --streams N         open-streams, many-streams: concurrent streams (2000; many-streams: 10000)
  --messages N        slow-readers: 16 KiB messages per stream (4096); memory: messages per stream for sizes below 64 KiB (1000000)
  --factors A,B       overload: loads as multiples of the capacity (3,10)
  --work A,B          overload: handlers (${OVERLOAD_WORK.join(',')}); see bench/overload/server-process.mjs
  --restarts N        recovery: number of restarts (50)
  --only A,B          run only these contenders and ${BASELINE}; names: ${CONTENDERS.map(({ name }) => name).join(', ')}
  --channel           add ${CHANNEL.name}: grpc-js's channel without a client
  --classic           add ${CLASSIC.name}: ${String(CLASSIC.about)}
  --policies          add contenders with call policies (default for unary in the overall table):
${POLICIES.map(({ name, about }) => `                      ${name}: ${String(about)}`).join('\n')}
  --retry-buffers     add this library with several sizes of grpc-js's retry buffer: ${RETRY_BUFFERS.map(({ name }) => name).join(', ')}
  --profile NAME      run one contender alone, for --seconds (10) at --in-flight (32) or --size (100), for example:
                      node --cpu-prof bench/main.mjs unary --profile resilient-grpc
                      telemetry: one of ${TELEMETRY.map(({ name }) => name).join(', ')}
                      server: one of ${SERVERS.map(({ name }) => name).join(', ')}, whose process receives the Node flags
  --json              print only one JSON object on one line: npm run --silent bench -- --json
Options that do not apply to a benchmark are rejected.`;

const CONTENDER_OPTIONS = /** @type {const} */ (['only', 'channel', 'classic', 'policies', 'retry-buffers', 'json']);
const UNARY_OPTIONS = /** @type {const} */ (['rounds', 'seconds', 'in-flight', 'profile', 'json']);
const MESSAGE_OPTIONS = /** @type {const} */ (['rounds', 'seconds', 'size', 'profile', ...CONTENDER_OPTIONS]);

/**
 * The options of each benchmark. The overall table accepts the options of all its benchmarks, except `--profile`.
 *
 * @type {Readonly<Record<string, readonly (keyof Values)[]>>}
 */
const OPTIONS = {
  unary: [...UNARY_OPTIONS, ...CONTENDER_OPTIONS],
  stream: MESSAGE_OPTIONS,
  upload: MESSAGE_OPTIONS,
  bidi: MESSAGE_OPTIONS,
  'open-streams': ['rounds', 'streams', ...CONTENDER_OPTIONS],
  'slow-readers': ['rounds', 'messages', ...CONTENDER_OPTIONS],
  recovery: ['restarts', ...CONTENDER_OPTIONS],
  'first-call': ['rounds', ...CONTENDER_OPTIONS],
  package: CONTENDER_OPTIONS,
  telemetry: UNARY_OPTIONS,
  server: UNARY_OPTIONS,
  overload: ['rounds', 'seconds', 'factors', 'work', 'json'],
  memory: ['size', 'messages', 'json'],
  'many-streams': ['streams', 'json'],
};
/** The options that apply together with `--profile`, which runs one contender without rounds. */
const PROFILE_OPTIONS = /** @type {readonly (keyof Values)[]} */ (['seconds', 'in-flight', 'size', 'profile']);

/** An invalid argument. */
export class UsageError extends Error {}

/**
 * @typedef {import('./compare.mjs').Comparison | import('./processes/open-streams.mjs').OpenStreamsPlan |
 *   import('./processes/slow-readers.mjs').SlowReadersPlan | import('./recovery/measure.mjs').RecoveryPlan |
 *   import('./processes/first-call.mjs').FirstCallPlan | import('./packages/measure.mjs').PackagePlan |
 *   import('./servers/measure.mjs').ServerPlan | import('./overload/measure.mjs').OverloadPlan} SectionPlan A plan that
 *   produces a section of the report.
 *
 * @typedef {import('./memory/bounds.mjs').BoundsPlan | import('./memory/many-streams.mjs').ManyStreamsPlan} OursPlan
 * @typedef {{ bench: 'all', command: string, plans: readonly SectionPlan[], json: boolean }} OverallPlan `command` is the command line.
 * @typedef {SectionPlan | OursPlan | OverallPlan} Plan
 * @typedef {ReturnType<typeof parse>['values']} Values
 */

/** @typedef {typeof TABLE_BENCHES[number]} TableBench */

/**
 * Reads the command line.
 *
 * @param {readonly string[]} argv
 * @returns {Plan}
 * @throws {UsageError}
 */
export function parsePlan(argv) {
  const { values, positionals } = parse(argv);
  const [bench, ...rest] = positionals;
  const json = values.json ?? false;
  if (rest.length === 0) {
    rejectOthers(bench, values);
    const tableBench = TABLE_BENCHES.find((name) => name === bench);
    if (tableBench !== undefined) return sectionPlan(tableBench, values);
    switch (bench) {
      case undefined:
        return overall(['npm run bench', ...(argv.length > 0 ? ['--', ...argv] : [])].join(' '), values);
      case 'telemetry':
        return telemetry(values);
      case 'memory':
        return {
          bench,
          sizes: integers('--size', values.size ?? '1024,65536'),
          messages: integer('--messages', values.messages ?? '1000000'),
          json,
        };
      case 'many-streams':
        return { bench, streams: integer('--streams', values.streams ?? '10000'), json };
      case 'server':
        return servers(values);
      case 'overload':
        return overload(values);
    }
  }
  throw new UsageError(`expected one of the benchmarks, got ${positionals.join(' ')}`);
}

/**
 * @param {string | undefined} bench
 * @param {Values} values
 * @throws {UsageError} if an option does not apply to the benchmark
 */
function rejectOthers(bench, values) {
  if (bench !== undefined && !Object.hasOwn(OPTIONS, bench)) return;
  const applies =
    bench === undefined
      ? new Set(TABLE_BENCHES.flatMap((name) => OPTIONS[name] ?? []).filter((option) => option !== 'profile'))
      : new Set(OPTIONS[bench]?.filter((option) => values.profile === undefined || PROFILE_OPTIONS.includes(option)));
  const subject =
    bench === undefined ? 'the overall benchmark' : values.profile === undefined ? bench : `a profile of ${bench}`;
  // Safe cast: these are the options of `parse`.
  for (const option of /** @type {(keyof Values)[]} */ (Object.keys(values))) {
    if (values[option] === undefined || applies.has(option)) continue;
    const list = [...applies].map((each) => `--${each}`).join(', ');
    throw new UsageError(`--${option} does not apply to ${subject}; supported options: ${list}`);
  }
}

/**
 * @param {string} command
 * @param {Values} values
 * @returns {OverallPlan}
 */
function overall(command, values) {
  const plans = TABLE_BENCHES.map((bench) =>
    sectionPlan(bench, {
      ...(bench === 'first-call' && { rounds: '7' }),
      ...(bench === 'unary' && { policies: true }),
      ...values,
    }),
  );
  return { bench: 'all', command, plans, json: values.json ?? false };
}

/**
 * @param {TableBench} bench
 * @param {Values} values
 * @returns {SectionPlan}
 */
function sectionPlan(bench, values) {
  const json = values.json ?? false;
  switch (bench) {
    case 'unary':
    case 'stream':
    case 'upload':
    case 'bidi':
      return comparison(bench, values);
    case 'open-streams':
      return {
        bench,
        entries: choose(values),
        rounds: integer('--rounds', values.rounds ?? '15'),
        streams: integer('--streams', values.streams ?? '2000'),
        json,
      };
    case 'slow-readers':
      return {
        bench,
        entries: choose(values),
        rounds: integer('--rounds', values.rounds ?? '3'),
        messages: integer('--messages', values.messages ?? '4096'),
        json,
      };
    case 'recovery':
      return { bench, entries: choose(values), restarts: integer('--restarts', values.restarts ?? '50'), json };
    case 'first-call':
      return { bench, entries: choose(values), rounds: integer('--rounds', values.rounds ?? '11'), json };
    case 'package':
      return { bench, entries: choose(values), json };
  }
}

/**
 * @param {'unary' | 'stream' | 'upload' | 'bidi'} bench
 * @param {Values} values
 * @returns {import('./compare.mjs').Comparison}
 */
function comparison(bench, values) {
  const profile = values.profile !== undefined;
  const amounts =
    bench === 'unary'
      ? integers('--in-flight', values['in-flight'] ?? (profile ? '32' : '1,32,512'))
      : integers('--size', values.size ?? (profile ? '100' : '100,1024,65536'));
  const workloads = amounts.map(WORKLOADS[bench]);
  const entries = profile ? [find(values.profile ?? '')] : choose(values);
  // Uses 120 rounds by default: the CPU per call varies by a sixth between rounds, so the median of only 60 ratios would still vary by
  // 0.03.
  const rounds = bench === 'unary' && { rounds: '120' };
  return { bench, entries, baseline: BASELINE, workloads, ...size({ ...rounds, ...values }) };
}

/**
 * @param {Values} values
 * @returns {import('./compare.mjs').Comparison}
 */
function telemetry(values) {
  const workloads = integers('--in-flight', values['in-flight'] ?? '32').map(WORKLOADS.unary);
  return {
    bench: 'telemetry',
    entries: allOrProfiled(TELEMETRY, values),
    baseline: NO_TELEMETRY,
    workloads,
    ...size(values),
  };
}

/**
 * @param {Values} values
 * @returns {import('./servers/measure.mjs').ServerPlan}
 */
function servers(values) {
  const workloads = integers('--in-flight', values['in-flight'] ?? '32').map(WORKLOADS.unary);
  return { bench: 'server', entries: allOrProfiled(SERVERS, values), workloads, ...size(values) };
}

/**
 * @param {Values} values
 * @returns {import('./overload/measure.mjs').OverloadPlan}
 */
function overload(values) {
  return {
    bench: 'overload',
    entries: OVERLOADED_SERVERS,
    work: values.work?.split(',') ?? OVERLOAD_WORK,
    factors: integers('--factors', values.factors ?? '3,10'),
    rounds: integer('--rounds', values.rounds ?? '5'),
    seconds: integer('--seconds', values.seconds ?? '5'),
    json: values.json ?? false,
  };
}

/**
 * @template {{ readonly name: string }} T
 * @param {readonly T[]} all
 * @param {Values} values
 * @returns {readonly T[]}
 */
function allOrProfiled(all, { profile }) {
  const entries = all.filter(({ name }) => profile === undefined || profile === name);
  if (entries.length > 0) return entries;
  throw new UsageError(`--profile: expected one of ${all.map(({ name }) => name).join(', ')}, got ${profile ?? ''}`);
}

/** @param {Values} values */
function size(values) {
  const profile = values.profile !== undefined;
  const rounds = integer('--rounds', values.rounds ?? '60');
  const seconds = Number(values.seconds ?? (profile ? 10 : 0.2));
  if (!(seconds > 0)) throw new UsageError(`--seconds: expected a number above 0, got ${String(values.seconds)}`);
  return { rounds, seconds, json: values.json ?? false, profile };
}

/** @param {readonly string[]} argv */
function parse(argv) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        'in-flight': { type: 'string' },
        size: { type: 'string' },
        messages: { type: 'string' },
        streams: { type: 'string' },
        restarts: { type: 'string' },
        factors: { type: 'string' },
        work: { type: 'string' },
        only: { type: 'string' },
        channel: { type: 'boolean' },
        classic: { type: 'boolean' },
        policies: { type: 'boolean' },
        'retry-buffers': { type: 'boolean' },
        profile: { type: 'string' },
        json: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/**
 * @param {string} option
 * @param {string} text
 * @returns {number[]}
 */
function integers(option, text) {
  return text.split(',').map((part) => {
    if (!/^[1-9]\d*$/.test(part)) throw new UsageError(`${option}: expected integers of 1 or more, got ${text}`);
    return Number(part);
  });
}

/**
 * @param {string} option
 * @param {string} text
 * @returns {number}
 */
function integer(option, text) {
  const [number = NaN, ...more] = integers(option, text);
  if (more.length > 0) throw new UsageError(`${option}: expected one number, got ${text}`);
  return number;
}

/**
 * @param {Values} values
 * @returns {import('./contenders.mjs').Entry[]}
 */
function choose(values) {
  const only = values.only?.split(',').map(find);
  const extra = [
    ...(values.channel ? [CHANNEL] : []),
    ...(values.classic ? [CLASSIC] : []),
    ...(values.policies ? POLICIES : []),
    ...(values['retry-buffers'] ? RETRY_BUFFERS : []),
  ];
  return ALL_CONTENDERS.filter(
    (entry) =>
      entry.name === BASELINE || extra.includes(entry) || (only ? only.includes(entry) : CONTENDERS.includes(entry)),
  );
}

/**
 * @param {string} name
 * @returns {import('./contenders.mjs').Entry}
 */
function find(name) {
  const entry = ALL_CONTENDERS.find((each) => each.name === name);
  if (entry) return entry;
  throw new UsageError(`expected one of ${ALL_CONTENDERS.map((each) => each.name).join(', ')}, got ${name}`);
}
