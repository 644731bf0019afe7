// node tools/call-cost.mjs [--check]: bytes that a unary call allocates, on a client and on a server, with 32 calls in
// flight, and what a key adds to both. V8 samples allocations, also of objects that were collected since, so the figures have hardly any
// noise, even on a busy machine. Run `npm run build` first. --check compares with tools/limits.json; without it, the CPU time that a key
// adds follows, with its quartiles.
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
/** Number of rounds in which CPU times are compared. */
const ROUNDS = 30;
/** Share by which a figure may exceed its limit. */
const TOLERANCE = 0.03;

/** @typedef {Awaited<ReturnType<typeof openClient>>} Client */

// Without development checks.
process.env['NODE_ENV'] = 'production';

const session = new Session();
session.connect();

const peer = startPeer();
const client = await openClient(await peer.execute('listen'));
const server = await openServer();
const serverOfKeys = await openServer(true);
const plain = await openClient(serverOfKeys.url);
const keyed = await openClient(serverOfKeys.url, { methods: { Get: { once: true } } });
const figures = {
  'client, bytes per unary call': await bytesPerCall((count) => callInFlight(client, count)),
  'server, bytes per unary call': await bytesPerCall((count) =>
    peer.execute('call', { address: server.url, count, inFlight: IN_FLIGHT }),
  ),
  'both ends, bytes that a key adds':
    (await bytesPerCall((count) => callInFlight(keyed, count))) -
    (await bytesPerCall((count) => callInFlight(plain, count))),
};
const micros = process.argv.includes('--check') ? [] : await microsOfKeys();
await Promise.all([client, plain, keyed].map((one) => one.close()));
await Promise.all([server.close(), serverOfKeys.close()]);
await peer.stop();
session.disconnect();
if (process.argv.includes('--check')) checkLimits('call cost', figures, TOLERANCE);
else {
  for (const [name, bytes] of Object.entries(figures)) console.log(`${name}: ${String(bytes)}`);
  const [low, median, high] = [0.25, 0.5, 0.75].map((share) => micros[Math.trunc(share * micros.length)]?.toFixed(1));
  console.log(`both ends, µs of CPU that a key adds: ${median} [${low}, ${high}]`);
}

/** Returns what a key adds to the CPU time of a call, in µs, in rising order: one figure per round. */
async function microsOfKeys() {
  const found = [];
  for (let round = 0; round < ROUNDS; round += 1)
    found.push((await microsPerCall(keyed)) - (await microsPerCall(plain)));
  return found.sort((a, b) => a - b);
}

/** @param {Client} one */
async function microsPerCall(one) {
  const before = process.cpuUsage();
  await callInFlight(one, WARM_UP_CALLS);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / WARM_UP_CALLS;
}

/**
 * @param {Client} one
 * @param {number} count
 */
async function callInFlight(one, count) {
  let left = count;
  const caller = async () => {
    while (left-- > 0) await lastValueFrom(one.service.get({ id: ORDER_ID }));
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
