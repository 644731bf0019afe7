// Measures the CPU time per unary call of this library's server, Nest's, and grpc-js's. They take turns, each in a separate process. The
// calls are made with node:http2.
import { startChild } from '../child.mjs';
import { open } from '../contenders/http2.mjs';
import { outlineOfRounds, rowsOf, takeRounds, takeTurn } from '../rounds.mjs';
import { WORKLOADS } from '../workloads.mjs';

/** Name of the server to which all ratios are relative. */
const BASELINE = 'nest';

/** All servers, in the order of the report. */
const SERVERS = [
  { name: 'resilient-grpc', packages: ['nestjs-resilient-grpc'] },
  { name: BASELINE, packages: ['@nestjs/microservices'] },
  { name: 'grpc-js', packages: ['@grpc/grpc-js'] },
];

/** @type {import('../sections.mjs').BenchSection} */
export const server = {
  defaults: { rounds: 60, seconds: 0.2, 'in-flight': [32] },
  entriesOf: () => SERVERS,
  outlineOf({ entries, rounds, seconds }) {
    const question = 'What does a call cost in the server process?';
    return outlineOfRounds('call', {
      question,
      apart: 'in a separate process',
      baseline: BASELINE,
      rounds,
      seconds,
      entries,
    });
  },
  async measure({ entries, rounds, seconds, 'in-flight': inFlight }) {
    const children = entries.map(({ name }) => ({
      name,
      child: startChild(new URL('../nest-server-process.mjs', import.meta.url), [name, 'none']),
    }));
    const clients = [];
    try {
      const turns = new Map();
      for (const { name, child } of children) {
        const client = open((await child.execute('listen')).address);
        clients.push(client);
        const contender = { ...client, cpuUsage: () => child.execute('cpuUsage') };
        turns.set(name, (workload, time) => takeTurn(contender, workload, time));
      }
      const taken = await takeRounds(turns, inFlight.map(WORKLOADS.unary), { rounds, seconds });
      return rowsOf(taken, { baseline: BASELINE, entries });
    } finally {
      for (const client of clients) client.close();
      await Promise.all(children.map(({ child }) => child.stop()));
    }
  },
};
