// Benchmarks this library's client against grpc-js's own client, three other clients, and node:http2 as the lower bound. Benchmarks this
// library's server against Nest's and grpc-js's. Each benchmark prints a question, the method of measurement, and the figures.
import { USAGE, UsageError, parsePlan } from './arguments.mjs';
import { measureBounds } from './memory/bounds.mjs';
import { measureAllEndings } from './memory/many-streams.mjs';
import { overallJson, overallTable } from './overall.mjs';
import { toJson, toTable } from './report.mjs';
import { measure } from './sections.mjs';

// Disables this library's development checks, as in production. Nest and the other clients do not read this variable per call, so it does
// not change the cost of their calls. Separate processes inherit it.
process.env['NODE_ENV'] ??= 'production';

try {
  await run(parsePlan(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}

/** @param {import('./arguments.mjs').Plan} plan */
async function run(plan) {
  switch (plan.bench) {
    case 'memory':
      return measureBounds(plan);
    case 'many-streams':
      return measureAllEndings(plan);
    case 'all':
      return runAll(plan);
    default: {
      const section = await measure(plan);
      if (section === undefined) return;
      console.log(plan.json ? JSON.stringify(toJson(section)) : toTable(section));
    }
  }
}

/** @param {import('./arguments.mjs').OverallPlan} plan */
async function runAll({ command, plans, json }) {
  const beganAt = performance.now();
  const sections = [];
  for (const plan of plans) {
    const section = await measure(plan);
    if (section !== undefined) sections.push(section);
  }
  const minutes = (performance.now() - beganAt) / 60_000;
  const ran = { command, minutes };
  console.log(json ? JSON.stringify(overallJson(sections, ran)) : overallTable(sections, ran));
}
