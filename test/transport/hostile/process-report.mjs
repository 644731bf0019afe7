import { readMemory } from '../../../bench/memory.mjs';

/** Most bytes of the log that are written: what an attack makes a process log would fill the memory of the process that reads it. */
const MAX_WRITTEN_BYTES = 1_000_000;

let logged = 0;
let written = 0;
for (const stream of [process.stdout, process.stderr]) {
  const { write } = stream;
  stream.write = (chunk, ...rest) => {
    logged += chunk.length;
    written += chunk.length;
    return written > MAX_WRITTEN_BYTES || write.call(stream, chunk, ...rest);
  };
}

let peak = 0;
setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 50).unref();

const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

/** What this process holds and has used; its peak and its log since the previous report. Collects garbage first if `collects`. */
export async function processReport(collects) {
  const cpuBefore = cpuMs();
  const heap = collects ? (await readMemory()).heap : undefined;
  const sockets = process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  const report = { heap, resident: process.memoryUsage.rss(), peak, sockets, logged, cpuBefore, cpuAfter: cpuMs() };
  peak = 0;
  logged = 0;
  return report;
}
