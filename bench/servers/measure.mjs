// CPU of the server's process per unary call: ours next to Nest's own, and next to grpc-js's with nothing around it, each in a
// process of its own, in turns, asked by the leanest client there is.
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
 * @property {boolean} profile The only entry alone, instead of rounds.
 */

/**
 * @typedef {object} ServerEntry
 * @property {'resilient-grpc' | 'nest' | 'grpc-js'} name As in the report.
 * @property {readonly string[]} packages Whose versions the report names.
 */

/** All ratios are to this server. */
const BASELINE = 'nest';

/**
 * In the order of the report.
 *
 * @type {readonly ServerEntry[]}
 */
export const SERVERS = [
  { name: 'resilient-grpc', packages: ['nestjs-resilient-grpc'] },
  { name: BASELINE, packages: ['@nestjs/microservices'] },
  { name: 'grpc-js', packages: ['@grpc/grpc-js'] },
];

/**
 * @param {ServerPlan} plan
 * @returns {import('../report.mjs').Outline}
 */
export function outlineOfServers({ bench, entries, workloads, rounds, seconds }) {
  const question = 'What does a call cost the process of its server?';
  const apart = 'in a process of its own';
  return outlineOfRounds({ bench, question, entries, workloads, rounds, seconds, baseline: BASELINE, apart });
}

/**
 * @param {ServerPlan} plan
 * @returns {Promise<readonly import('../report.mjs').Row[] | undefined>} Nothing where a server was alone.
 */
export async function measureServers({ bench, entries, workloads, rounds, seconds, profile: alone }) {
  /** @type {Map<string, Contender>} */
  const open = new Map();
  try {
    // Flags such as --cpu-prof are meant for the server.
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
