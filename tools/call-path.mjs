// node tools/call-path.mjs [--only unary] [--list|--check]: counts the files and functions of the built library through
// which calls pass, from their creation to their end, on a warm connection and with default options. V8's precise coverage counts them. Run
// `npm run build` first. --list names them; --check compares with tools/limits.json.
import { Session } from 'node:inspector/promises';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { lastValueFrom } from 'rxjs';
import { ORDER_ID } from '../bench/contract.mjs';
import { checkLimits } from './limits.mjs';
import { openClient, openServer, startPeer } from './measured.mjs';

const LIBRARY = new URL('../libs/resilient-grpc/dist/', import.meta.url).href;
const TRANSPORT = 'transport/';
const GRPC_JS = /\/@grpc\/grpc-js\/build\/src\//;
/** Number of calls that open the connection and fill the caches before the first measured call. */
const WARM_UP_CALLS = 20;
const MEASURED_CALLS = 60;

// Without development checks.
process.env['NODE_ENV'] = 'production';
// Optimized code contains other functions, which are then not counted.
setFlagsFromString('--no-opt');

const FAILS_ONCE = { metadata: { 'x-fails-once': '1' } };

const options = /** @type {const} */ ({
  only: { type: 'string' },
  list: { type: 'boolean' },
  check: { type: 'boolean' },
});
const { values } = parseArgs({ options });

/** @typedef {{ readonly file: string, readonly called: readonly { readonly name: string, readonly count: number }[] }} Passed */

const session = new Session();
session.connect();
await session.post('Profiler.enable');

const request = { id: ORDER_ID };
const serviceConfig = { methodConfig: [], retryThrottling: { maxTokens: 1_000, tokenRatio: 1 } };
const repeated = { methods: { '*': { idempotent: true } }, serviceConfig };
const hedged = { methods: { '*': { idempotent: true, hedge: 60_000 } } };
/** @type {Readonly<Record<string, () => Promise<readonly Passed[]>>>} */
const PATHS = {
  unary: () => ofClient({}, (service) => service.get(request)),
  'retried once': () => ofClient(repeated, (service) => service.get(request, FAILS_ONCE)),
  hedged: () => ofClient(hedged, (service) => service.get(request)),
  'server stream': () => ofClient({}, (service) => service.watch({ count: 3, size: 100 })),
  'served unary': ofServer,
  'lost connection': ofLoss,
};

/** @type {Record<string, number>} */
const figures = {};
for (const [name, measure] of Object.entries(PATHS))
  if (values.only === undefined || values.only === name) report(name, await measure());
session.disconnect();
if (values.check === true) checkLimits('call path', figures);

/**
 * @param {object} settings
 * @param {(service: any) => import('rxjs').Observable<unknown>} call
 */
async function ofClient(settings, call) {
  const peer = startPeer();
  const client = await openClient(await peer.execute('listen'), settings);
  const passed = await shortestPath(() => lastValueFrom(call(client.service)));
  await client.close();
  await peer.stop();
  return passed;
}

async function ofServer() {
  const peer = startPeer();
  const { url: address, close } = await openServer();
  const passed = await shortestPath(() => peer.execute('call', { address, count: 1, inFlight: 1 }));
  await close();
  await peer.stop();
  return passed;
}

/** From the end of the last connection to the warning. */
async function ofLoss() {
  const peer = startPeer();
  const address = await peer.execute('listen');
  /** @type {(line: string) => void} */
  let warned = () => undefined;
  const client = await openClient(address, {}, (line) => warned(line));
  await lastValueFrom(client.service.get(request));
  const isWarned = new Promise((resolve) => (warned = resolve));
  await startCoverage();
  await peer.kill();
  // Waits for the server, so that there is an outage.
  const waiting = lastValueFrom(client.service.get(request)).catch(() => undefined);
  await isWarned;
  const passed = await passedFiles();
  await client.close();
  await waiting;
  return passed;
}

async function startCoverage() {
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  // Discards the counts so far, because each read resets the counters.
  await session.post('Profiler.takePreciseCoverage');
}

/**
 * Returns the shortest path of many calls, because occasional work, such as a timer or a response in two reads, is not part of a call.
 *
 * @param {() => Promise<unknown>} call
 */
async function shortestPath(call) {
  for (let left = WARM_UP_CALLS; left > 0; left -= 1) await call();
  await startCoverage();
  /** @type {readonly Passed[]} */
  let shortest = [];
  for (let left = MEASURED_CALLS; left > 0; left -= 1) {
    await call();
    const passed = await passedFiles();
    if (shortest.length === 0 || functionsOf(passed).length < functionsOf(shortest).length) shortest = passed;
  }
  return shortest;
}

/** Returns the files of the library and of grpc-js through which calls have passed since the last read. */
async function passedFiles() {
  const { result } = await session.post('Profiler.takePreciseCoverage');
  return result.flatMap(({ url, functions }) => {
    if (!url.startsWith(LIBRARY) && !GRPC_JS.test(url)) return [];
    const called = functions
      .map(({ functionName, ranges }) => ({ name: functionName || '(anonymous)', count: ranges[0]?.count ?? 0 }))
      .filter(({ count }) => count > 0);
    return called.length === 0
      ? []
      : [{ file: url.replace(LIBRARY, '').replace(/^.*@grpc\/grpc-js\//, 'grpc-js: '), called }];
  });
}

/** @param {readonly Passed[]} passed */
function functionsOf(passed) {
  return passed.flatMap(({ called }) => called);
}

/**
 * @param {string} name
 * @param {readonly Passed[]} passed
 */
function report(name, passed) {
  const theirs = passed.filter(({ file }) => file.startsWith('grpc-js: '));
  const ours = passed.filter((one) => !theirs.includes(one));
  const above = ours.filter(({ file }) => !file.startsWith(TRANSPORT));
  for (const [part, files] of Object.entries({ all: ours, 'above transport/': above, 'grpc-js': theirs })) {
    figures[`${name}, ${part}: files`] = files.length;
    figures[`${name}, ${part}: functions`] = functionsOf(files).length;
  }
  const text = ([...files]) => `${String(files.length)} files and ${String(functionsOf(files).length)} functions`;
  console.log(`${name}: ${text(ours)}, of them ${text(above)} above transport/; grpc-js ${text(theirs)}`);
  if (values.list !== true) return;
  for (const { file, called } of [...passed].sort((a, b) => a.file.localeCompare(b.file)))
    console.log(
      `  ${file}: ${called.map(({ name: one, count }) => (count === 1 ? one : `${one} × ${String(count)}`)).join(', ')}`,
    );
}
