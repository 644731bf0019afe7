import { parseArgs } from 'node:util';
import {
  ALL_CONTENDERS,
  BASELINE,
  CHANNEL,
  CONTENDERS,
  POLICIES,
  RETRY_BUFFERS,
  TELEMETRY,
  UNTOLD,
  contenderNamed,
} from './contenders.mjs';
import { SERVERS } from './servers/measure.mjs';
import { bidirectionalStreams, clientStreams, serverStreams, unaryCalls } from './workloads.mjs';

/** Those in the one table, in its order. */
const IN_THE_TABLE = /** @type {const} */ ([
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

/** Shown with each mistake in the arguments. */
export const USAGE = `Usage: npm run bench -- [name] [options]
All contenders, in one table, in some 12 minutes; or one of
  ${IN_THE_TABLE.join(', ')}
or of what concerns ours alone: telemetry, memory, many-streams; server: ours next to Nest's
  --rounds N          that count, after one that warms up (11; all: 7; open-streams, slow-readers: 3)
  --seconds S         unary, stream, upload, bidi, telemetry, server: for each contender at each workload in each round (0.4;
                      all: 0.3)
  --in-flight A,B     unary, telemetry, server: calls open at any time (1,32,512; telemetry, server: 32)
  --size A,B          stream, upload, bidi, memory: bytes of a message (100,1024,65536; memory: 1024,65536)
  --streams N         open-streams, many-streams: open at once (2000; many-streams: 10000)
  --messages N        slow-readers: of 16 KiB, of a stream (4096); memory: those of less than 64 KiB, of a stream (1000000)
  --restarts N        recovery (50)
  --only A,B          these contenders and ${BASELINE}: ${CONTENDERS.map(({ name }) => name).join(', ')}
  --channel           with ${CHANNEL.name}: grpc-js's channel with nothing around it
  --policies          with ${POLICIES.map(({ name }) => name).join(' and ')}: ours with deadline, retries and breaker, grpc-js with the deadline
                      that is among them (in the table: unary)
  --retry-buffers     with ours and other sizes of grpc-js's retry buffer: ${RETRY_BUFFERS.map(({ name }) => name).join(', ')}
  --profile NAME      one contender alone, for --seconds (10) at --in-flight (32) or --size (100), e.g.
                      node --cpu-prof bench/main.mjs unary --profile resilient-grpc
                      telemetry: one of ${TELEMETRY.map(({ name }) => name).join(', ')}
                      server: one of ${SERVERS.map(({ name }) => name).join(', ')}, whose process gets the flags
  --json              one JSON object on standard output and nothing else`;

/** The arguments make no sense; the message says what was expected. */
export class UsageError extends Error {}

/**
 * @typedef {import('./compare.mjs').Comparison | import('./processes/open-streams.mjs').OpenStreamsPlan |
 *   import('./processes/slow-readers.mjs').SlowReadersPlan | import('./recovery/measure.mjs').RecoveryPlan |
 *   import('./processes/first-call.mjs').FirstCallPlan | import('./packages/measure.mjs').PackagePlan |
 *   import('./servers/measure.mjs').ServerPlan} SectionPlan One that gives a section of the report.
 *
 * @typedef {import('./memory/bounds.mjs').BoundsPlan | import('./memory/many-streams.mjs').ManyStreamsPlan} OursPlan
 * @typedef {{ bench: 'all', plans: readonly SectionPlan[], json: boolean }} OverallPlan
 * @typedef {SectionPlan | OursPlan | OverallPlan} Plan
 * @typedef {ReturnType<typeof parse>['values']} Values
 */

/** @typedef {typeof IN_THE_TABLE[number]} InTheTable */

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
    const inTheTable = IN_THE_TABLE.find((name) => name === bench);
    if (inTheTable !== undefined) return sectionPlan(inTheTable, values);
    switch (bench) {
      case undefined:
        return overall(values);
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
    }
  }
  throw new UsageError(`expected one of the benchmarks, got ${positionals.join(' ')}`);
}

/**
 * @param {Values} values
 * @returns {OverallPlan}
 */
function overall(values) {
  if (values.profile !== undefined) throw new UsageError('--profile: expected the name of a benchmark before it');
  const plans = IN_THE_TABLE.map((bench) => {
    const timed = bench !== 'open-streams' && bench !== 'slow-readers';
    return sectionPlan(bench, {
      ...(timed && { rounds: '7', seconds: '0.3' }),
      ...(bench === 'unary' && { policies: true }),
      ...values,
    });
  });
  return { bench: 'all', plans, json: values.json ?? false };
}

/**
 * @param {InTheTable} bench
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
        rounds: integer('--rounds', values.rounds ?? '3'),
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
  const workloads =
    bench === 'unary'
      ? integers('--in-flight', values['in-flight'] ?? (profile ? '32' : '1,32,512')).map(unaryCalls)
      : integers('--size', values.size ?? (profile ? '100' : '100,1024,65536')).map(
          { stream: serverStreams, upload: clientStreams, bidi: bidirectionalStreams }[bench],
        );
  const entries = profile ? [find(values.profile ?? '')] : choose(values);
  return { bench, entries, baseline: BASELINE, workloads, ...size(values) };
}

/**
 * @param {Values} values
 * @returns {import('./compare.mjs').Comparison}
 */
function telemetry(values) {
  const workloads = integers('--in-flight', values['in-flight'] ?? '32').map(unaryCalls);
  return {
    bench: 'telemetry',
    entries: allOrProfiled(TELEMETRY, values),
    baseline: UNTOLD,
    workloads,
    ...size(values),
  };
}

/**
 * @param {Values} values
 * @returns {import('./servers/measure.mjs').ServerPlan}
 */
function servers(values) {
  const workloads = integers('--in-flight', values['in-flight'] ?? '32').map(unaryCalls);
  return { bench: 'server', entries: allOrProfiled(SERVERS, values), workloads, ...size(values) };
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
  throw new UsageError(`expected one of ${all.map(({ name }) => name).join(', ')}, got ${profile ?? ''}`);
}

/** @param {Values} values */
function size(values) {
  const profile = values.profile !== undefined;
  const rounds = integer('--rounds', values.rounds ?? '11');
  const seconds = Number(values.seconds ?? (profile ? 10 : 0.4));
  if (!(seconds > 0)) throw new UsageError(`--seconds: expected a length above 0, got ${String(values.seconds)}`);
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
        only: { type: 'string' },
        channel: { type: 'boolean' },
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
  const asked = values.only?.split(',').map(find);
  const extra = [
    ...(values.channel ? [CHANNEL] : []),
    ...(values.policies ? POLICIES : []),
    ...(values['retry-buffers'] ? RETRY_BUFFERS : []),
  ];
  return ALL_CONTENDERS.filter(
    (entry) =>
      entry.name === BASELINE || extra.includes(entry) || (asked ? asked.includes(entry) : CONTENDERS.includes(entry)),
  );
}

/**
 * @param {string} name
 * @returns {import('./contenders.mjs').Entry}
 */
function find(name) {
  const entry = contenderNamed(name);
  if (entry) return entry;
  throw new UsageError(`expected one of ${ALL_CONTENDERS.map((each) => each.name).join(', ')}, got ${name}`);
}
