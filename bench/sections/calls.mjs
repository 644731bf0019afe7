// Measures the CPU, latency, and throughput of calls and messages. Contenders take turns, each in a separate process, because in a shared
// process, the hidden classes and garbage of each would affect the others. Several sets of processes run one after another, because
// compilation and garbage collection differ from process to process.
import { BASELINE, CLIENT_OPTIONS, chosenContenders } from '../contenders.mjs';
import { outlineOfRounds, rowsOf, takeRounds } from '../rounds.mjs';
import { withContenders, withServer } from '../processes.mjs';
import { WORKLOADS } from '../workloads.mjs';

/** Number of process sets. The rounds are distributed over them. */
const SETS = 3;

/**
 * Node flag for streams: the initial size of the old space in MiB. Without the flag, V8 lowers the heap limit of these small processes
 * until large messages cause continuous marking. From that point, which differs between processes, a message costs five times as much.
 * Unary calls run without this flag, as in a service. With the flag, V8 would not collect the old space here, and the figures would
 * include the cost of the objects that Node keeps per request.
 */
const OLD_SPACE_FLAG = '--initial-old-space-size=512';

/**
 * @param {keyof typeof WORKLOADS} kind
 * @param {string} question
 * @param {Partial<import('../sections.mjs').BenchSection>} section
 * @returns {import('../sections.mjs').BenchSection}
 */
function comparison(kind, question, section) {
  const isUnary = kind === 'unary';
  const flags = isUnary ? [] : [OLD_SPACE_FLAG];
  return {
    inTable: true,
    defaults: { rounds: 60, seconds: 0.2, size: [100, 1_024, 65_536], tls: false, ...CLIENT_OPTIONS },
    entriesOf: (options) => chosenContenders({ ...options, bare: true }),
    outlineOf({ entries, rounds, seconds, tls }) {
      const sets = `in ${String(Math.min(SETS, rounds))} separate processes, one after another`;
      const apart = [sets, ...(tls ? ['over TLS'] : []), ...flags.map((flag) => `(node ${flag})`)].join(' ');
      return outlineOfRounds(isUnary ? 'call' : 'message', {
        question,
        apart,
        baseline: BASELINE,
        rounds,
        seconds,
        entries,
      });
    },
    measure: ({ entries, rounds, seconds, tls, ...options }) =>
      withServer(async ({ address }) => {
        const workloads = (isUnary ? options['in-flight'] : options.size).map(WORKLOADS[kind]);
        const names = entries.map(({ name }) => name);
        const sets = Math.min(SETS, rounds);
        const taken = [];
        for (let set = 0; set < sets; set++) {
          /** @param {ReadonlyMap<string, import('../child.mjs').Child>} children By contender. */
          const work = async (children) => {
            await Promise.all([...children.values()].map((child) => child.execute('rehearseBeside', { names })));
            const turnOf = (child) => (workload, time) =>
              child.execute('turn', { kind, amount: Object.values(workload.key)[0], seconds: time });
            const turns = new Map([...children].map(([name, child]) => [name, turnOf(child)]));
            return takeRounds(turns, workloads, { rounds: Math.floor((rounds + set) / sets), seconds });
          };
          taken.push(...(await withContenders(entries, address, work, flags)));
        }
        return rowsOf(taken, { baseline: BASELINE, entries });
      }, tls),
    ...section,
  };
}

export const unary = comparison('unary', 'What does a call cost, and how long does it take?', {
  // Uses 120 rounds: the CPU per call varies by a sixth between rounds, so the median of only 60 ratios would still vary by 0.03.
  defaults: { rounds: 120, seconds: 0.2, 'in-flight': [1, 32, 512], tls: false, ...CLIENT_OPTIONS },
  entriesOf: (options) => chosenContenders({ ...options, bare: true, policies: true }),
});
export const stream = comparison(
  'stream',
  'What does a message of a server stream cost, and how many are received per second?',
);
export const upload = comparison(
  'upload',
  'What does a message of a client stream cost, and how many are sent per second?',
);
export const bidi = comparison(
  'bidi',
  'What does an echoed message on a bidirectional stream cost, and how many are echoed per second?',
);
