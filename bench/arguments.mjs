import { parseArgs } from 'node:util';
import { BASELINE, CONTENDERS, FLOOR, ON_DEMAND, POLICIES, RETRY_BUFFERS, TELEMETRY, UNTOLD } from './contenders.mjs';
import { SERVERS } from './servers/measure.mjs';
import { clientStreams, serverStreams, unaryCalls } from './workloads.mjs';

/** Shown with each mistake in the arguments. */
export const USAGE = `Usage: npm run bench -- unary|stream|upload|telemetry|memory|many-streams|server [options]
  --rounds N          rounds that count, after one that warms up (11)
  --seconds S         for each contender at each workload in each round (0.4)
  --in-flight A,B     unary, telemetry, server: calls open at any time (1,32,512; telemetry, server: 32)
  --size A,B          stream, upload, memory: bytes of a message (100,1024,65536; memory: 1024,65536)
  --messages N        memory: messages of a stream, where they are smaller than 64 KiB (1000000)
  --streams N         many-streams: open at once (10000)
  --only A,B          these contenders and ${BASELINE}: ${CONTENDERS.map(({ name }) => name).join(', ')}
  --floor             with ${FLOOR.name}: grpc-js's channel with nothing around it
  --policies          with ${POLICIES.name}: ours with every policy on
  --retry-buffers     with ours and other sizes of grpc-js's retry buffer: ${RETRY_BUFFERS.map(({ name }) => name).join(', ')}
  --profile NAME      one contender alone, for --seconds (10) at --in-flight (32) or --size (100), e.g.
                      node --cpu-prof bench/main.mjs unary --profile resilient-grpc
                      telemetry: one of ${TELEMETRY.map(({ name }) => name).join(', ')}
                      server: one of ${SERVERS.map(({ name }) => name).join(', ')}, whose process gets the flags
  --json              one JSON object on standard output and nothing else`;

/** The arguments make no sense; the message says what was expected. */
export class UsageError extends Error {}

/**
 * Contenders in turns.
 *
 * @typedef {object} Comparison
 * @property {'unary' | 'stream' | 'upload' | 'telemetry'} bench
 * @property {readonly import('./contenders.mjs').Entry[]} entries
 * @property {string} baseline All ratios are to this entry.
 * @property {readonly import('./workloads.mjs').Workload[]} workloads
 * @property {number} rounds
 * @property {number} seconds
 * @property {boolean} json
 * @property {boolean} profile The only entry alone, instead of rounds.
 */

/**
 * @typedef {Comparison | import('./memory/bounds.mjs').BoundsPlan | import('./memory/many-streams.mjs').ManyStreamsPlan |
 *   import('./servers/measure.mjs').ServerPlan} Plan */

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
    switch (bench) {
      case 'unary':
      case 'stream':
      case 'upload':
        return comparison(bench, values);
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
  throw new UsageError(`expected one of the benchmarks, got ${positionals.join(' ') || 'nothing'}`);
}

/**
 * @param {'unary' | 'stream' | 'upload'} bench
 * @param {ReturnType<typeof parse>['values']} values
 * @returns {Comparison}
 */
function comparison(bench, values) {
  const profile = values.profile !== undefined;
  const workloads =
    bench === 'unary'
      ? integers('--in-flight', values['in-flight'] ?? (profile ? '32' : '1,32,512')).map(unaryCalls)
      : integers('--size', values.size ?? (profile ? '100' : '100,1024,65536')).map(
          bench === 'stream' ? serverStreams : clientStreams,
        );
  const entries = profile
    ? [find(values.profile ?? '')]
    : choose(values.only, [
        ...(values.floor ? [FLOOR] : []),
        ...(values.policies ? [POLICIES] : []),
        ...(values['retry-buffers'] ? RETRY_BUFFERS : []),
      ]);
  return { bench, entries, baseline: BASELINE, workloads, ...size(values) };
}

/**
 * @param {ReturnType<typeof parse>['values']} values
 * @returns {Comparison}
 */
function telemetry(values) {
  const workloads = integers('--in-flight', values['in-flight'] ?? '32').map(unaryCalls);
  const entries = TELEMETRY.filter(({ name }) => values.profile === undefined || values.profile === name);
  if (entries.length === 0) {
    throw new UsageError(
      `expected one of ${TELEMETRY.map(({ name }) => name).join(', ')}, got ${values.profile ?? ''}`,
    );
  }
  return { bench: 'telemetry', entries, baseline: UNTOLD, workloads, ...size(values) };
}

/**
 * @param {ReturnType<typeof parse>['values']} values
 * @returns {import('./servers/measure.mjs').ServerPlan}
 */
function servers(values) {
  const workloads = integers('--in-flight', values['in-flight'] ?? '32').map(unaryCalls);
  const entries = SERVERS.filter(({ name }) => values.profile === undefined || values.profile === name);
  if (entries.length === 0) {
    throw new UsageError(`expected one of ${SERVERS.map(({ name }) => name).join(', ')}, got ${values.profile ?? ''}`);
  }
  return { bench: 'server', entries, workloads, ...size(values) };
}

/** @param {ReturnType<typeof parse>['values']} values */
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
        only: { type: 'string' },
        floor: { type: 'boolean' },
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
 * @param {string | undefined} only
 * @param {readonly Entry[]} extra
 * @returns {import('./contenders.mjs').Entry[]}
 */
function choose(only, extra) {
  const asked = only?.split(',').map(find);
  const chosen = CONTENDERS.filter((entry) => !asked || asked.includes(entry) || entry.name === BASELINE);
  return [...chosen, ...ON_DEMAND.filter((entry) => extra.includes(entry) || asked?.includes(entry))];
}

/**
 * @param {string} name
 * @returns {import('./contenders.mjs').Entry}
 */
function find(name) {
  const all = [...CONTENDERS, ...ON_DEMAND];
  const entry = all.find((candidate) => candidate.name === name);
  if (!entry) throw new UsageError(`expected one of ${all.map((each) => each.name).join(', ')}, got ${name}`);
  return entry;
}
