// Measures the CPU time per unary call of this library's server, Nest's, and grpc-js's. They take turns, each in a
// separate process. The calls are made directly on grpc-js's channel, which adds little overhead.
import { outlineOfRounds, rowsOf } from '../compare.mjs';
import { lengthOfRun, profile, summarize, takeRounds, takeTurn } from '../rounds.mjs';
import { openServer } from './open-server.mjs';

/** @typedef {import('../contenders.mjs').Contender} Contender */

/**
 * @typedef {object} ServerPlan
 * @property {'server'} bench
 * @property {readonly ServerEntry[]} entries
 * @property {readonly import('../workloads.mjs').Workload[]} workloads
 * @property {number} rounds
 * @property {number} seconds
 * @property {boolean} json
 * @property {boolean} profile True to run one server for a CPU profile, without rounds.
 */

/**
 * @typedef {object} ServerEntry
 * @property {'resilient-grpc' | 'unprotected' | 'nest' | 'grpc-js'} name Name in the report.
 * @property {readonly string[]} packages Packages whose versions are reported.
 */

/** Name of the server to which all ratios are relative. */
const BASELINE = 'nest';

/**
 * All servers, in the order of the report.
 *
 * @type {readonly ServerEntry[]}
 */
export const SERVERS = [
  { name: 'resilient-grpc', packages: ['nestjs-resilient-grpc'] },
  // This library without the protection against overload.
  { name: 'unprotected', packages: ['nestjs-resilient-grpc'] },
  { name: BASELINE, packages: ['@nestjs/microservices'] },
  { name: 'grpc-js', packages: ['@grpc/grpc-js'] },
];

/**
 * @param {ServerPlan} plan
 * @returns {import('../report.mjs').Outline}
 */
export function outlineOfServers({ bench, entries, workloads, rounds, seconds }) {
  const question = 'What does a call cost in the server process?';
  const apart = 'in a separate process';
  return outlineOfRounds({ bench, question, entries, workloads, rounds, seconds, baseline: BASELINE, apart });
}

/**
 * @param {ServerPlan} plan
 * @returns {Promise<readonly import('../report.mjs').Row[] | undefined>} `undefined` for a profile.
 */
export async function measureServers({ bench, entries, workloads, rounds, seconds, profile: alone }) {
  /** @type {Map<string, Contender>} */
  const open = new Map();
  try {
    // For a profile, passes flags such as --cpu-prof to the server process.
    for (const { name } of entries) open.set(name, await openServer(name, alone ? process.execArgv : []));
    if (alone) {
      await profile(open, workloads, seconds);
      return undefined;
    }
    const length = lengthOfRun(open.size, workloads.length, { rounds, seconds });
    console.error(`${bench}: ${[...open.keys()].join(', ')}; about ${length.toFixed(0)} s`);
    /** @type {Map<string, import('../rounds.mjs').Turn>} */
    const turns = new Map(
      [...open].map(([name, contender]) => [name, (workload, time) => takeTurn(contender, workload, time)]),
    );
    return rowsOf(summarize(await takeRounds(turns, workloads, { rounds, seconds }), { baseline: BASELINE }));
  } finally {
    for (const contender of open.values()) await contender.close();
  }
}
