import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NestFactory } from '@nestjs/core';
import {
  ResilientGrpcModule,
  getGrpcClientToken,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { seededRandom } from '../unit-support/seeded-random.mjs';
import { figuresOf, type Figures } from '../../bench/simulation/figures.mjs';
import { Meter, SAMPLE_MS } from '../../bench/simulation/meter.mjs';
import { POLICIES } from '../../bench/simulation/policies.mjs';
import { DEFAULT_WORLD, simulate } from '../../bench/simulation/simulate.mjs';
import { recordTiming } from '../support/timing.js';

interface Orders {
  get(request: { id: string }): Observable<unknown>;
}

// Simulated handshakes cost almost nothing, because new connections do not count against the rate limit of the real server.
const WORLD = { ...DEFAULT_WORLD, clients: 50, callsPerSecond: 5, handshakeCost: 0.01 };
const CALLS_PER_MS = (WORLD.clients * WORLD.callsPerSecond) / 1_000;
/** Periods in milliseconds from the start. In `FAILING`, the server fails every call with UNAVAILABLE; in `DOWN`, it is down. */
const FAILING = { from: 500, to: 4_500 };
const DOWN = { from: 5_300, to: 6_800 };
/** Duration of the load in milliseconds. Recovery takes about 2 s; two more seconds without failures show that it lasts. */
const LENGTH_MS = 11_500;

/** The default retry budget of a client, as docs/guides/retries.md states it. */
const BUDGET = { maxTokens: 10, perSuccess: 0.12, perSecond: 0.05 };

function simulateFigures(): Figures {
  const ours = POLICIES.find(({ name }) => name === 'resilient-grpc')!;
  const faults = [
    {
      ...FAILING,
      title: '',
      begin: ({ servers }: any) => (servers[0].isUnreachable = true),
      end: ({ servers }: any) => (servers[0].isUnreachable = false),
    },
    { ...DOWN, title: '', begin: (fleet: any) => fleet.stop(0), end: (fleet: any) => fleet.start(0) },
  ];
  return simulate(WORLD, ours, faults, LENGTH_MS / 1_000).figures;
}

async function startServer(): Promise<ChildServer> {
  const bounds = [
    '--rate',
    CALLS_PER_MS * 1_000 * WORLD.capacity,
    '--queue',
    WORLD.queueMs,
    '--latency',
    WORLD.latencyMs,
  ];
  const server = await ChildServer.start({
    script: new URL('./bounded-server.mjs', import.meta.url),
    args: (port) => ['--port', String(port), ...bounds.map(String)],
  });
  onTestFinished(() => server.close());
  return server;
}

async function startClients(url: string): Promise<readonly Resilient<Orders>[]> {
  const names = Array.from({ length: WORLD.clients }, (_, index) => `orders-${index}`);
  class AppModule {}
  const clients = names.map((name) => ({
    name,
    url,
    package: 'orders.v1',
    protoPath: fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)),
    timeoutMs: WORLD.patienceMs,
  }));
  const app = await NestFactory.createApplicationContext(
    {
      module: AppModule,
      imports: [ResilientGrpcModule.forRoot({ drain: { timeoutMs: 1_000 } }), ResilientGrpcModule.forFeature(clients)],
    },
    { logger: false, abortOnError: false },
  );
  onTestFinished(() => app.close());
  const opened = names.map((name) => app.get<ResilientGrpcClient>(getGrpcClientToken(name)));
  await Promise.all(opened.map((client) => client.waitForReady({ timeoutMs: 30_000 })));
  return opened.map((client) => client.getService<Orders>('Orders'));
}

interface Reality {
  readonly figures: Figures;
  readonly calls: number;
  readonly attempts: number;
  /** Number of calls that were open when the server shut down. */
  readonly open: number;
}

async function measureFigures(): Promise<Reality> {
  const server = await startServer();
  const clients = await startClients(server.url);
  const meter = new Meter(LENGTH_MS + WORLD.patienceMs, CALLS_PER_MS);
  const random = seededRandom(WORLD.seed);
  const beganAt = Date.now();
  const now = (): number => Date.now() - beganAt;
  let begun = 0;
  let ended = 0;
  const call = (): void => {
    const number = begun++;
    const startedAt = now();
    meter.called(startedAt, number, startedAt > DOWN.to);
    clients[Math.floor(random() * clients.length)]!.get({ id: String(number) }).subscribe({
      error: () => {
        ended += 1;
        meter.failed(number);
      },
      complete: () => {
        ended += 1;
        meter.succeeded(startedAt);
      },
    });
  };
  const load = setInterval(() => {
    for (const due = Math.min(now(), LENGTH_MS) * CALLS_PER_MS; begun < due;) call();
  }, 5);
  onTestFinished(() => clearInterval(load));

  await delay(FAILING.from - now());
  server.send({ unreachable: true });
  await delay(FAILING.to - now());
  server.send({ unreachable: false });
  await delay(DOWN.from - now());
  server.send({ downUntil: beganAt + DOWN.to });
  const open = begun - ended;
  await delay(DOWN.to - now());
  meter.faultOver(DOWN.to);
  await delay(LENGTH_MS - now());
  await waitFor(() => begun > 0 && ended === begun, { timeoutMs: 30_000 });
  clearInterval(load);

  server.send({ report: true });
  await waitFor(() => server.messages.length > 0, { timeoutMs: 20_000 });
  const { arrivals } = server.messages.at(-1) as { arrivals: number[] };
  for (const at of arrivals) {
    meter.arrived(Math.max(at - beganAt, 0));
    // Each attempt arrives: no attempt fails before it is sent, because a waiting call is not an attempt.
    meter.attempted(Math.max(at - beganAt, 0));
  }
  // Waits until each client has recovered.
  await Promise.all(clients.map((client) => firstValueFrom(client.get({ id: 'last' }, { timeoutMs: 30_000 }))));
  const figures = figuresOf(
    meter,
    [FAILING, DOWN].map((fault) => ({ ...fault, title: '', begin: () => {}, end: () => {} })),
    LENGTH_MS / SAMPLE_MS,
  );
  return { figures, calls: begun, attempts: arrivals.length, open };
}

const SLOW = { tags: ['timed'], timeout: 90_000 };

it('simulates figures close to those of fifty real clients of a real server', SLOW, async ({ task }) => {
  const simulated = simulateFigures();
  const { figures: real, calls, attempts, open } = await measureFigures();
  console.log(`in simulation ${JSON.stringify(simulated)}\nin reality    ${JSON.stringify(real)}`);
  // This bound holds on any machine. Each client has ten retry tokens and earns 0.12 tokens per success and one token per 20 s. Calls
  // that were lost with their connection are also retried.
  const tokens = WORLD.clients * (BUDGET.maxTokens + (BUDGET.perSecond * LENGTH_MS) / 1_000);
  expect(attempts).toBeLessThanOrEqual(calls * (1 + BUDGET.perSuccess) + tokens + open);
  // The numbers and times of successful calls are comparable only on an idle machine.
  const deviationOf = (figure: keyof Figures) => Math.abs((real[figure] ?? NaN) - (simulated[figure] ?? NaN));
  recordTiming(task, 'attempts per call in the second half of the worst fault', real.amplification, { atMost: 1.1 });
  recordTiming(task, 'attempts per call, deviation from the simulation', deviationOf('amplification'), { atMost: 0.1 });
  recordTiming(task, 'goodput, deviation from the simulation', deviationOf('goodput'), { atMost: 0.05 });
  recordTiming(task, 'peak load, deviation from the simulation', deviationOf('peakLoadRatio'), { atMost: 0.4 });
  recordTiming(task, 'new calls failed, deviation from the simulation', deviationOf('newCallsFailed'), {
    atMost: 0.05,
  });
  recordTiming(task, 'recovery, deviation from the simulation, s', deviationOf('recoverySeconds'), { atMost: 1.5 });
});
