// Measures whether a call costs more after its client has done all kinds of other work in the same process. V8 may by then have given up
// optimizations, for example because objects of one kind have several hidden classes, or keep dead entries in maps.
import { BASELINE, CLIENT_OPTIONS, chosenContenders } from '../contenders.mjs';
import { withContenders, withServer } from '../processes.mjs';
import { takeRounds } from '../rounds.mjs';
import { median } from '../statistics.mjs';
import { WORKLOADS } from '../workloads.mjs';

/**
 * Multiple of the baseline's ratio above which the benchmark fails for this library. In three runs, it was 1.2 to 1.3; both clients age, by
 * 1.1 to 2.3.
 */
const LIMIT = 1.5;
const OURS = 'resilient-grpc';
const IN_FLIGHT = 32;
const OTHER_WORK = [
  ...[1, 512].map(WORKLOADS.unary),
  ...[WORKLOADS.stream, WORKLOADS.upload, WORKLOADS.bidi].flatMap((kind) => [100, 65_536].map(kind)),
];

/** @type {import('../sections.mjs').BenchSection} */
export const aging = {
  defaults: { rounds: 20, seconds: 0.2, ...CLIENT_OPTIONS, only: [OURS] },
  entriesOf: chosenContenders,
  outlineOf: ({ rounds, seconds }) => ({
    question: 'Does a call cost more after other work?',
    how: `medians of ${String(rounds)} rounds of ${String(seconds)} s with ${String(IN_FLIGHT)} calls in flight, before and after calls of all kinds and sizes`,
    figures: [
      { name: 'freshUs', title: 'CPU µs/call before', digits: 1 },
      { name: 'agedUs', title: 'CPU µs/call after', digits: 1 },
      { name: 'ratio', title: 'ratio', digits: 2 },
    ],
  }),
  measure: ({ entries, rounds, seconds }) =>
    withServer(({ address }) =>
      withContenders(entries, address, async (children) => {
        const turnOf = (child) => (workload, time) =>
          child.execute('turn', { kind: workload.kind, amount: Object.values(workload.key)[0], seconds: time });
        const turns = new Map([...children].map(([name, child]) => [name, turnOf(child)]));
        const measureCalls = () => takeRounds(turns, [WORKLOADS.unary(IN_FLIGHT)], { rounds, seconds });
        const fresh = await measureCalls();
        await takeRounds(turns, OTHER_WORK, { rounds: 2, seconds });
        const aged = await measureCalls();
        const rows = entries.map(({ name: contender }) => {
          const [freshUs, agedUs] = [fresh, aged].map((taken) =>
            median(taken.map(({ samples }) => samples.get(contender).cpuUs)),
          );
          return { contender, freshUs, agedUs, ratio: agedUs / freshUs };
        });
        const ratioOf = (name) => rows.find(({ contender }) => contender === name)?.ratio ?? 1;
        const relative = ratioOf(OURS) / ratioOf(BASELINE);
        if (relative > LIMIT) {
          process.exitCode = 1;
          console.error(
            `aging: expected at most ${String(LIMIT)} times the ratio of ${BASELINE}, got ${relative.toFixed(2)}`,
          );
        }
        return rows;
      }),
    ),
};
