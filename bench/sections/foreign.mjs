// Measures the CPU time per message or call of this library's server and of Nest's under clients of other implementations, which have ordinary
// windows and other habits than this library's client. The servers take turns, each in a separate process.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { contenderNamed } from '../contenders.mjs';
import { framed } from '../contenders/http2.mjs';
import { loadService } from '../load-contract.mjs';
import { outlineOfRounds, rowsOf, takeRounds, takeTurn } from '../rounds.mjs';
import { copies, repeat } from '../workloads.mjs';
import { BASELINE, NEST_SERVERS, startServer } from './server.mjs';

/** Allows messages of 10 MiB. */
const LIMITS = { maxReceiveMessageLength: 2 ** 24, maxSendMessageLength: 2 ** 24 };
const GRPCIO_CLIENT = fileURLToPath(new URL('../grpcio_client.py', import.meta.url));
const MIB = 1_048_576;

const run = promisify(execFile);
const service = loadService();

/** Response streams of `count` messages of `size` bytes, `inFlight` at a time. */
const watch = (inFlight, count, size) => (client, milliseconds) =>
  repeat(milliseconds, inFlight, (done) => {
    let received = 0;
    const onMessage = () => received++;
    client.watch({ count, size }, onMessage, (error) => done(error, received));
  });

/** Uploads of one message of `size` bytes, one at a time. */
const upload = (size) => (client, milliseconds) =>
  repeat(milliseconds, 1, (done) => {
    client.upload(copies({ data: Buffer.alloc(size, 'x') }, 1), (error) => done(error, 1));
  });

const echo = (inFlight, count, size) => (client, milliseconds) =>
  repeat(milliseconds, inFlight, (done) => {
    let received = 0;
    const onMessage = () => received++;
    client.echo(copies({ data: Buffer.alloc(size, 'x') }, count), onMessage, (error) => done(error, received));
  });

/** Calls of h2load, `inFlight` at a time on each of 10 connections, which are new in each round. */
const h2load = (calls, inFlight) => async (_client, _milliseconds, address) => {
  const folder = mkdtempSync(join(tmpdir(), 'h2load-'));
  try {
    const body = join(folder, 'request');
    writeFileSync(body, framed(service.Get.requestSerialize({ id: '1' })));
    const headers = ['-H', 'content-type: application/grpc', '-H', 'te: trailers'];
    const size = ['-n', String(calls), '-c', '10', '-m', String(inFlight)];
    const { stdout } = await run('h2load', [...size, '-d', body, ...headers, `http://${address}/bench.Bench/Get`]);
    if (!stdout.includes(`${String(calls)} succeeded`)) throw new Error(stdout);
    return calls;
  } finally {
    rmSync(folder, { recursive: true });
  }
};

/** Response streams of grpcio, 20 at a time. */
const grpcio = (count, size) => async (_client, milliseconds, address) => {
  const request = service.Watch.requestSerialize({ count, size }).toString('hex');
  const { stdout } = await run('/usr/bin/python3', [GRPCIO_CLIENT, address, request, String(milliseconds / 1_000)]);
  return Number(stdout);
};

/** The loads, by name: the client, and what it does. A client of `bench/contenders` is opened once per server. */
const LOADS = {
  'http2: 100 streams, 1 KiB': ['http2', watch(100, 200, 1_024)],
  'http2: 1,000 streams, 10 × 100 B': ['http2', watch(1_000, 10, 100)],
  'http2: 100 echoes, 1 KiB': ['http2', echo(100, 50, 1_024)],
  'http2: response of 1 MiB': ['http2', watch(1, 1, MIB)],
  'http2: response of 10 MiB': ['http2', watch(1, 1, 10 * MIB)],
  'http2: request of 1 MiB': ['http2', upload(MIB)],
  'http2: request of 10 MiB': ['http2', upload(10 * MIB)],
  'grpc-js: 100 streams, 1 KiB': ['grpc-js', watch(100, 200, 1_024)],
  'grpc-js: request of 1 MiB': ['grpc-js', upload(MIB)],
  'grpcio: 20 streams, 1 KiB': [undefined, grpcio(200, 1_024)],
  'h2load: 10 connections, 100 calls each': [undefined, h2load(1_000, 10)],
  'h2load: 10 connections, one call each': [undefined, h2load(10, 1)],
};

/** @type {import('../sections.mjs').BenchSection} */
export const foreign = {
  defaults: { rounds: 30, seconds: 0.4, load: '' },
  entriesOf: () => NEST_SERVERS,
  outlineOf: ({ entries, rounds, seconds }) => ({
    ...outlineOfRounds('message', {
      question: 'What does a message or a call of a foreign client cost in the server process?',
      apart: 'in a separate process',
      baseline: BASELINE,
      rounds,
      seconds,
      entries,
    }),
    varied: { name: 'load', label: String },
  }),
  async measure({ entries, rounds, seconds, load }) {
    const children = entries.map(({ name }) => ({ name, child: startServer(name, LIMITS) }));
    /** @type {import('../contenders.mjs').Contender[]} */
    const opened = [];
    const names = Object.keys(LOADS).filter((name) => name.includes(load));
    const workloads = names.map((name) => ({ key: { load: name }, unit: 'message', run: LOADS[name][1] }));
    try {
      const turns = new Map();
      for (const { name, child } of children) {
        const { address } = await child.execute('listen');
        const clients = new Map();
        for (const client of ['http2', 'grpc-js']) {
          const { open } = await contenderNamed(client).load();
          clients.set(client, await open(address));
        }
        opened.push(...clients.values());
        turns.set(name, (workload, time) => {
          const [client] = LOADS[workload.key.load];
          const contender = { ...clients.get(client), cpuUsage: () => child.execute('cpuUsage') };
          return takeTurn(contender, { ...workload, run: (given, ms) => workload.run(given, ms, address) }, time);
        });
      }
      return rowsOf(await takeRounds(turns, workloads, { rounds, seconds }), { baseline: BASELINE, entries });
    } finally {
      for (const client of opened) client.close();
      await Promise.all(children.map(({ child }) => child.stop()));
    }
  },
};
