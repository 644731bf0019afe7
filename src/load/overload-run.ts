import { setTimeout as delay } from 'node:timers/promises';
import { Client, credentials, type ServiceDefinition, type ServiceError, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { DEADLINE_MS, OverloadedServerProcess } from '../chaos/overloaded-server-process.js';
import type { ContenderName } from '../contenders/contender.js';
import { ORDERS_SERVICE_NAME } from '../gen/orders.pb.js';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import { PATIENCE } from '../patience.js';

/** Ratio of the load to the capacity of the server. */
const FACTOR = 3;
/** Number of callers that measure the capacity. Each calls again as soon as it has a response. */
const CALLERS = 16;
const CAPACITY_MS = 1_500;
/**
 * Time in milliseconds after the start of the load. Latencies of calls sent within this time do not count, because the first calls reach an
 * idle server.
 */
const SETTLED_MS = 1_000;
/**
 * Number of consecutive successful responses, each with a latency of at most `GOOD_MS`, that prove recovery. The server has recovered at
 * the first of them.
 */
const GOOD_CALLS = 5;
const GOOD_MS = 200 * PATIENCE;
const GOOD_INTERVAL_MS = 50;
const MAX_RECOVERY_MS = 15_000;

/** Names of the servers in messages. */
const SERVERS: Readonly<Record<ContenderName, string>> = {
  plain: "Nest's server",
  tuned: "Nest's server with a timeout interceptor",
  resilient: 'nestjs-resilient-grpc',
};

/** The figures of one server. */
export interface OverloadResult {
  readonly name: ContenderName;
  /** Calls per second that the server can serve. */
  readonly capacity: number;
  readonly offered: number;
  /** Number of calls that were answered in time. */
  readonly good: number;
  /** Number of calls that the server refused. */
  readonly refused: number;
  /** Number of handlers that started after the deadline of their call. */
  readonly ranExpired: number;
  /** 99th percentile of the latencies of calls that were answered in time, except those of the first second; 0 if there is no such call. */
  readonly p99Ms: number;
  /** Time from the end of the load until the server answers quickly again, at most 15 s. */
  readonly goodAgainMs: number;
}

interface Answer {
  readonly code: status;
  readonly ms: number;
  /** Start of the call in monotonic milliseconds. */
  readonly sentAt: number;
}

/** Options of a run with one server. */
export interface OverloadOptions {
  /** Duration of the load. */
  readonly seconds: number;
  /** Receives progress messages. */
  readonly report: (text: string) => void;
}

/** Sends one server three times as many calls as it can serve. */
export async function overload(name: ContenderName, { seconds, report }: OverloadOptions): Promise<OverloadResult> {
  const server = await OverloadedServerProcess.start(name);
  const client = new Client(server.url, credentials.createInsecure());
  try {
    const capacity = await measureCapacity(client);
    report(`${SERVERS[name]} serves ${Math.round(capacity)} calls per second and receives ${FACTOR} times as many`);
    await server.ranExpired();
    const startedAt = performance.now();
    const { answers, ended } = await runOpenLoop(client, capacity * FACTOR, seconds);
    const goodAgainMs = await measureRecovery(client);
    await ended;
    const ranExpired = await server.ranExpired();
    const good = answers.filter(({ code }) => code === status.OK);
    const latencies = good.filter(({ sentAt }) => sentAt - startedAt >= SETTLED_MS).map(({ ms }) => ms);
    latencies.sort((a, b) => a - b);
    report(`${SERVERS[name]} answered ${good.length} of ${answers.length} calls in time`);
    return {
      name,
      capacity,
      offered: answers.length,
      good: good.length,
      refused: answers.filter(({ code }) => code === status.RESOURCE_EXHAUSTED).length,
      ranExpired,
      p99Ms: latencies[Math.ceil(latencies.length * 0.99) - 1] ?? 0,
      goodAgainMs,
    };
  } finally {
    client.close();
    await server.stop();
  }
}

// Safe cast: the contract has this service.
const ORDERS = loadSync(ORDERS_CONTRACT.protoPath)[
  `${ORDERS_CONTRACT.package}.${ORDERS_SERVICE_NAME}`
] as ServiceDefinition;
const GET = methodOf('Get');

function methodOf(name: string): ServiceDefinition[string] {
  const method = ORDERS[name];
  if (method === undefined) throw new Error(`the contract has no method ${name}`);
  return method;
}

/** Sends a call whose request id is the deadline of the call. */
function call(client: Client): Promise<Answer> {
  const sentAt = performance.now();
  const deadline = Date.now() + DEADLINE_MS;
  const { path, requestSerialize, responseDeserialize } = GET;
  return new Promise((resolve) => {
    const onEnd = (error: ServiceError | null): void => {
      resolve({ code: error?.code ?? status.OK, ms: performance.now() - sentAt, sentAt });
    };
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { id: String(deadline) }, { deadline }, onEnd);
  });
}

/** Uses closed loops to measure how many calls per second the server answers. */
async function measureCapacity(client: Client): Promise<number> {
  const startedAt = performance.now();
  let ended = 0;
  const loop = async (): Promise<void> => {
    while (performance.now() - startedAt < CAPACITY_MS) {
      await call(client);
      ended += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, loop));
  return (ended / (performance.now() - startedAt)) * 1_000;
}

/**
 * Sends calls at a constant rate, regardless of the number of unanswered calls. Resolves when all are sent; `ended` resolves when all have
 * ended.
 */
async function runOpenLoop(
  client: Client,
  perSecond: number,
  seconds: number,
): Promise<{ readonly answers: readonly Answer[]; readonly ended: Promise<unknown> }> {
  const answers: Answer[] = [];
  const calls: Promise<unknown>[] = [];
  const startedAt = performance.now();
  const total = Math.round(perSecond * seconds);
  while (calls.length < total) {
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1_000) * perSecond));
    while (calls.length < due) calls.push(call(client).then((answer) => answers.push(answer)));
    await delay(1);
  }
  return { answers, ended: Promise.all(calls) };
}

/** Resolves to the milliseconds until the first of `GOOD_CALLS` consecutive quick and successful responses, at most `MAX_RECOVERY_MS`. */
async function measureRecovery(client: Client): Promise<number> {
  const endedAt = performance.now();
  let quick: Answer[] = [];
  while (performance.now() - endedAt < MAX_RECOVERY_MS) {
    const answer = await call(client);
    quick = answer.code === status.OK && answer.ms <= GOOD_MS ? [...quick, answer] : [];
    const [first] = quick;
    if (first !== undefined && quick.length === GOOD_CALLS) return first.sentAt + first.ms - endedAt;
    await delay(GOOD_INTERVAL_MS);
  }
  return MAX_RECOVERY_MS;
}
