// node tools/call-cost.mjs [--check]: bytes that a unary call allocates, on a client and on a server, with 32 calls in
// flight. V8 samples allocations, also of objects that were collected since, so the figures have hardly any noise, even on a busy machine.
// Run `npm run build` first. --check compares with tools/limits.json.
import { Session } from 'node:inspector/promises';
import { lastValueFrom } from 'rxjs';
import { ORDER_ID } from '../bench/contract.mjs';
import { checkLimits } from './limits.mjs';
import { openClient, openServer, startPeer } from './measured.mjs';

const IN_FLIGHT = 32;
const WARM_UP_CALLS = 5_000;
const MEASURED_CALLS = 20_000;
/** Average distance of samples in bytes: more than 100,000 samples. */
const SAMPLING_BYTES = 1_024;
/** Share by which a figure may exceed its limit. */
const TOLERANCE = 0.03;

// Without development checks.
process.env['NODE_ENV'] = 'production';

const session = new Session();
session.connect();

const peer = startPeer();
const client = await openClient(await peer.execute('listen'));
const server = await openServer();
const figures = {
  'client, bytes per unary call': await bytesPerCall(callInFlight),
  'server, bytes per unary call': await bytesPerCall((count) =>
    peer.execute('call', { address: server.url, count, inFlight: IN_FLIGHT }),
  ),
};
await Promise.all([client.close(), server.close()]);
await peer.stop();
session.disconnect();
if (process.argv.includes('--check')) checkLimits('call cost', figures, TOLERANCE);
else for (const [name, bytes] of Object.entries(figures)) console.log(`${name}: ${String(bytes)}`);

/** @param {number} count */
async function callInFlight(count) {
  let left = count;
  const caller = async () => {
    while (left-- > 0) await lastValueFrom(client.service.get({ id: ORDER_ID }));
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
}

/** @param {(count: number) => Promise<unknown>} call */
async function bytesPerCall(call) {
  await call(WARM_UP_CALLS);
  await session.post('HeapProfiler.startSampling', {
    samplingInterval: SAMPLING_BYTES,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  });
  await call(MEASURED_CALLS);
  const { profile } = await session.post('HeapProfiler.stopSampling');
  return Math.round(sizeOf(profile.head) / MEASURED_CALLS);
}

/** @param {import('node:inspector').HeapProfiler.SamplingHeapProfileNode} node @returns {number} */
function sizeOf({ selfSize, children }) {
  return children.reduce((sum, child) => sum + sizeOf(child), selfSize);
}
