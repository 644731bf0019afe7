// Runs sequences of hostile frames in a separate process:
//   node --expose-gc --import ./test/support/typescript.mjs test/frames/fuzz-process.mjs --side client|server
//     --from SEED --count N      runs N sequences
//     --seeds 1,2 --lanes 1      runs the sequences of these seeds sequentially
//     --shrink SEED              prints the steps needed to break an invariant
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { ClientTarget } from './client-target.js';
import { CountedLog, fuzz, shrink } from './fuzz-run.js';
import { ServerTarget } from './server-target.js';

const { values } = parseArgs({
  options: {
    side: { type: 'string', default: 'client' },
    from: { type: 'string', default: '1' },
    count: { type: 'string', default: '300' },
    seeds: { type: 'string' },
    lanes: { type: 'string', default: '32' },
    shrink: { type: 'string' },
  },
});
// Exits if the process that evaluates the findings has exited.
const exit = () => process.exit();
process.once('disconnect', exit);
const log = new CountedLog();
// grpc-js logs header fields unescaped, so its log is counted separately.
const logOfGrpcJs = new CountedLog();
console.error = logOfGrpcJs.error;
const lanes = values.shrink === undefined ? Number(values.lanes) : 1;
const target = await (values.side === 'server' ? ServerTarget.start(lanes, log) : ClientTarget.start(lanes, log));
if (values.shrink === undefined) {
  const all = Array.from({ length: Number(values.count) }, (_, index) => Number(values.from) + index);
  const seeds = values.seeds?.split(',').map(Number) ?? all;
  const print = ({ finding, report }) => {
    if (finding ?? report) console.log(finding ?? report);
  };
  await fuzz(target, seeds, lanes, { log, logOfGrpcJs }, process.send?.bind(process) ?? print);
  if (process.send === undefined && seeds.length === 1) console.log(target.describe(seeds[0] ?? 0).join('\n'));
} else {
  console.log((await shrink(target, Number(values.shrink))).join('\n'));
  await target.close();
}
process.off('disconnect', exit);
// From here on, the process exits only if no open resource keeps its event loop running.
if (process.connected) process.disconnect();
