// Benchmarks this library's client against grpc-js's own client, three other clients, and node:http2 as the lower bound. Benchmarks this
// library's server against Nest's and grpc-js's. Prints a table that states the question, the method, and the figures of each benchmark.
import { describeMachine } from './machine.mjs';
import { USAGE, UsageError, planOf } from './options.mjs';
import { toJson, toTable } from './report.mjs';

// Disables this library's development checks, as in production. Nest and the other clients do not read this variable per call, so it does
// not change the cost of their calls. Separate processes inherit it.
process.env['NODE_ENV'] ??= 'production';

try {
  await run(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}

/** @param {readonly string[]} argv */
async function run(argv) {
  const { command, json, plans } = planOf(argv);
  const beganAt = performance.now();
  const sections = [];
  for (const { bench, measure, options, outline } of plans) {
    console.error(`${bench}: ${options.entries.map(({ name }) => name).join(', ')}`);
    sections.push({ bench, ...outline, rows: await measure(options) });
  }
  const machine = describeMachine(plans.flatMap(({ options }) => options.entries));
  const report = { machine, command, minutes: (performance.now() - beganAt) / 60_000, sections };
  console.log(json ? toJson(report) : toTable(report));
}
