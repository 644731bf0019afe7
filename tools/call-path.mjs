// node tools/call-path.mjs [--list]: counts the files and functions of the built library that a unary call passes through, from its
// creation to its end, on a warm connection and with default options. V8's precise coverage counts them. Run `npm run build` first.
import { Session } from 'node:inspector/promises';
import { ORDER_ID } from '../bench/contract.mjs';
import { open } from '../bench/contenders/resilient-grpc.mjs';
import { startServer } from '../bench/processes.mjs';

const LIBRARY = new URL('../libs/resilient-grpc/dist/', import.meta.url).href;
/** Number of calls that open the connection and fill the caches before the first measured call. */
const WARM_UP_CALLS = 20;
const MEASURED_CALLS = 100;

const server = startServer();
const { port } = await server.execute('listen', { port: 0 });
const client = await open(`127.0.0.1:${port}`);
for (let call = 0; call < WARM_UP_CALLS; call++) await get();

const session = new Session();
session.connect();
await session.post('Profiler.enable');
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
// This read discards the counts so far, because each read resets the counters.
await session.post('Profiler.takePreciseCoverage');
let files = [];
for (let call = 0; call < MEASURED_CALLS; call++) {
  await get();
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const passed = filesOf(result);
  // Keeps the shortest path, because occasional work, such as a timer or a response in two reads, is not part of a call.
  if (call === 0 || functionsOf(passed).length < functionsOf(files).length) files = passed;
}
session.disconnect();
await client.close();
await server.stop();

const all = functionsOf(files);
const runs = all.reduce((sum, { count }) => sum + count, 0);
console.log(`A unary call passes through ${files.length} files and ${all.length} functions, in ${runs} invocations.`);
if (process.argv.includes('--list'))
  for (const { file, called } of files.sort((a, b) => a.file.localeCompare(b.file)))
    console.log(`${file}: ${called.map(({ name, count }) => (count === 1 ? name : `${name} × ${count}`)).join(', ')}`);

/** @returns {Promise<void>} */
function get() {
  return new Promise((resolve, reject) => {
    client.get(ORDER_ID, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(error);
    });
  });
}

/** @param {import('node:inspector').Profiler.ScriptCoverage[]} scripts */
function filesOf(scripts) {
  return scripts.flatMap(({ url, functions }) => {
    if (!url.startsWith(LIBRARY)) return [];
    const called = functions
      .map(({ functionName, ranges }) => ({ name: functionName || '(anonymous)', count: ranges[0]?.count ?? 0 }))
      .filter(({ count }) => count > 0);
    return called.length === 0 ? [] : [{ file: url.slice(LIBRARY.length), called }];
  });
}

/** @param {{ called: { name: string, count: number }[] }[]} passed */
function functionsOf(passed) {
  return passed.flatMap(({ called }) => called);
}
