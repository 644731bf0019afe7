// Measures the CPU time per call or message of this library's server, Nest's, and grpc-js's. They take turns, each in a separate process.
import { startChild, withChild } from '../child.mjs';
import { contenderNamed } from '../contenders.mjs';
import { outlineOfRounds, rowsOf, takeRounds, takeTurn } from '../rounds.mjs';
import { median } from '../statistics.mjs';
import { WORKLOADS } from '../workloads.mjs';

/** Name of the server to which all ratios are relative. */
export const BASELINE = 'nest';

/** All servers, in the order of the report; `own` is the client of `--clients own`. */
const SERVERS = [
  { name: 'resilient-grpc', packages: ['nestjs-resilient-grpc'], own: 'resilient-grpc' },
  { name: BASELINE, packages: ['@nestjs/microservices'], own: 'grpc-js' },
  { name: 'grpc-js', packages: ['@grpc/grpc-js'], own: 'grpc-js' },
];
export const NEST_SERVERS = SERVERS.slice(0, 2);

/** @param {string} name @param {object} [options] Further options of the server. */
export const startServer = (name, options = {}) =>
  startChild(new URL('../nest-server-process.mjs', import.meta.url), [name, 'none', JSON.stringify(options)]);

/** @type {import('../sections.mjs').BenchSection} */
export const server = {
  defaults: {
    rounds: 60,
    seconds: 0.2,
    kind: 'unary',
    'in-flight': [32],
    size: [100],
    clients: 'http2',
    headers: false,
  },
  entriesOf: ({ kind }) => (kind === 'unary' ? SERVERS : NEST_SERVERS),
  outlineOf({ entries, rounds, seconds, kind }) {
    const unit = kind === 'unary' ? 'call' : 'message';
    const question = `What does a ${unit} cost in the server process?`;
    return outlineOfRounds(unit, {
      question,
      apart: 'in a separate process',
      baseline: BASELINE,
      rounds,
      seconds,
      entries,
    });
  },
  async measure({ entries, rounds, seconds, kind, clients: clientName, headers, ...options }) {
    const children = entries.map(({ name, own }) => ({ name, own, child: startServer(name) }));
    const clients = [];
    try {
      const turns = new Map();
      for (const { name, own, child } of children) {
        const { open } = await contenderNamed(clientName === 'own' ? own : clientName).load();
        const client = await open((await child.execute('listen')).address, headers ? USUAL_HEADERS : {});
        clients.push(client);
        const contender = { ...client, cpuUsage: () => child.execute('cpuUsage') };
        turns.set(name, (workload, time) => takeTurn(contender, workload, time));
      }
      const workloads = options[kind === 'unary' ? 'in-flight' : 'size'].map(WORKLOADS[kind]);
      const taken = await takeRounds(turns, workloads, { rounds, seconds });
      return rowsOf(taken, { baseline: BASELINE, entries });
    } finally {
      for (const client of clients) client.close();
      await Promise.all(children.map(({ child }) => child.stop()));
    }
  },
};

/** A deadline, the context of a trace, and a token of 1 KiB. */
const USUAL_HEADERS = {
  'grpc-timeout': '60S',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  authorization: `Bearer ${'x'.repeat(1_024)}`,
};

/** Measures the time from process start to listening. @type {import('../sections.mjs').BenchSection} */
export const serverStart = {
  defaults: { rounds: 21 },
  entriesOf: () => NEST_SERVERS,
  outlineOf: ({ rounds }) => ({
    question: 'How long does a server take from process start to listening?',
    how: `medians of ${String(rounds)} new processes per server, alternating, including Node startup`,
    figures: [
      { name: 'startMs', title: 'start to listening ms', digits: 0 },
      { name: 'ratio', title: 'ratio', digits: 2 },
    ],
  }),
  async measure({ entries, rounds }) {
    const taken = entries.map(({ name }) => ({ contender: name, times: /** @type {number[]} */ ([]) }));
    for (let round = 0; round < rounds; round++) {
      for (const { contender, times } of taken) {
        const begunAt = performance.now();
        await withChild(startServer(contender), (child) => child.execute('listen'));
        times.push(performance.now() - begunAt);
      }
    }
    const usual = taken.find(({ contender }) => contender === BASELINE)?.times ?? [];
    return taken.map(({ contender, times }) => ({
      contender,
      startMs: median(times),
      ratio: median(times.map((ms, round) => ms / (usual[round] ?? NaN))),
    }));
  },
};
