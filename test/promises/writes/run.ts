// npm run promises -- writes [--only Redis,GOAWAY --seconds 60 --rate 200 --seed N]: writes with keys, while their servers, connections, and
// stores suffer faults of one kind after the other. Counts what was done, and compares it with what callers were told.
import 'reflect-metadata';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { GrpcCallError } from 'nestjs-resilient-grpc';
import { tap } from 'rxjs';
import type { Order } from '../../../src/gen/orders.pb.js';
import { HAPROXY, RealProxy } from '../../guides/proxies/real-proxy.js';
import { judge } from '../../scenarios/support/judge.js';
import type { Measured } from '../../scenarios/support/scenario.js';
import { CallLoad, type LoadCall } from '../../support/call-load.js';
import { startOrdersApp } from '../../support/orders-app.js';
import { skipWithout } from '../../support/programs.js';
import { seededRandom } from '../../unit-support/seeded-random.mjs';
import { tableOf } from '../table.js';
import { exitWithUsage } from '../usage.js';
import { KINDS, type Kind } from './kinds.js';
import { Shop } from './shop.js';

const USAGE = 'Usage: npm run promises -- writes [--only Redis,GOAWAY --seconds N --rate N --seed N]';
const GAP_MS = 5_000;
/** Extra time for the last writes. */
const PATIENCE_MS = 30_000;

const text = { type: 'string' } as const;
const options = { only: text, seconds: text, rate: text, seed: text };

function parse() {
  try {
    return parseArgs({ args: process.argv.slice(3), options }).values;
  } catch (error) {
    return exitWithUsage(String(error), USAGE);
  }
}

const values = parse();
const [seconds, rate] = [Number(values.seconds ?? 60), Number(values.rate ?? 200)];
const seed = Number(values.seed ?? Math.trunc(Math.random() * 2 ** 31));
if (!(seconds > 0 && rate > 0 && Number.isInteger(seed))) exitWithUsage('expected numbers', USAGE);
const titleOf = ({ store, name }: Kind) => `${store}: ${name}`;
const only = values.only?.split(',');
const chosen = KINDS.filter((kind) => only?.some((part) => titleOf(kind).includes(part)) ?? true);
if (chosen.length === 0) exitWithUsage(`--only: expected parts of ${KINDS.map(titleOf).join('; ')}`, USAGE);

interface Span {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Asks HAProxy to spread requests over all replicas; the page shows two. */
function proxyTo({ replicas }: Shop): Promise<RealProxy> {
  const [first, second, ...others] = replicas.map(({ line }) => line.ports.ours);
  const lineOf = (index: number, address: string) =>
    `server orders-${index} ${address} proto h2 check inter 1s fall 2 rise 1`;
  const shown = lineOf(2, 'orders-2:50051');
  const more = others.map((port, index) => `\n  ${lineOf(index + 3, `127.0.0.1:${port}`)}`).join('');
  return RealProxy.start(HAPROXY, [first ?? 0, second ?? 0], { [shown]: shown + more });
}

async function measure(kind: Kind, random: () => number): Promise<Measured> {
  const closing: (() => Promise<void>)[] = [];
  try {
    const shop = await Shop.start(kind.store, kind.replicas, kind.isUpdate === true);
    closing.push(() => shop.close());
    let url = `ipv4:${shop.replicas.map(({ line }) => `127.0.0.1:${line.ports.ours}`).join(',')}`;
    if (kind.isProxied === true) {
      const proxy = await proxyTo(shop);
      closing.push(() => proxy.close());
      ({ url } = proxy);
    }
    const app = await startOrdersApp({
      ...{ url, loadBalancing: 'round_robin' },
      methods: { Create: { once: true, timeoutMs: kind.deadlineMs } },
    });
    closing.push(() => app.close());

    const answers = new Map<number, Order>();
    const load = CallLoad.start(rate, (number) =>
      app.orders
        .create({ requestId: '', item: `order-${number}`, quantity: number })
        .pipe(tap((order) => answers.set(number, order))),
    );
    const spans: Span[] = [];
    const endAt = Date.now() + seconds * 1_000;
    for (let count = 0; Date.now() + GAP_MS < endAt; count += 1) {
      await pause(GAP_MS);
      const index = kind.isUpdate === true ? count : Math.trunc(random() * shop.replicas.length);
      const fromMs = Date.now();
      await kind.fault(shop, shop.replicas[index % shop.replicas.length]!, random);
      spans.push({ fromMs, untilMs: Date.now() });
    }
    await pause(Math.max(0, endAt - Date.now()));
    await load.stop(kind.deadlineMs + PATIENCE_MS);
    return figuresOf(load.calls, answers, await written(shop), spans);
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** Sequences of the orders that were written, by item. */
async function written({ store }: Shop): Promise<ReadonlyMap<string, readonly string[]>> {
  const done = new Map<string, string[]>();
  for (const { item, sequence } of await store.written()) done.set(item, [...(done.get(item) ?? []), sequence]);
  return done;
}

function figuresOf(
  calls: readonly LoadCall[],
  answers: ReadonlyMap<number, Order>,
  done: ReadonlyMap<string, readonly string[]>,
  spans: readonly Span[],
): Measured {
  const failures = calls.flatMap((call) =>
    call.error instanceof GrpcCallError ? [{ ...call, error: call.error }] : [],
  );
  const sequencesOf = (number: number) => done.get(`order-${number}`) ?? [];
  const inDoubt = failures.filter(({ error }) => error.reason === 'in-doubt');
  const met = ({ startedAt, endedAt = 0 }: LoadCall, { fromMs, untilMs }: Span) =>
    startedAt <= untilMs && endedAt >= fromMs;
  const isRefused = ({ code, reachedServer }: GrpcCallError) => code === 14 && reachedServer === 'no';
  // Its deadline passed before the store was back.
  const away = calls.filter(({ startedAt, endedAt = 0 }) =>
    spans.some(({ fromMs, untilMs }) => startedAt > fromMs + 100 && endedAt < untilMs),
  );
  const texts = new Map<string, number>();
  for (const { error } of failures) {
    const key = `${error.code} ${error.reason} ${error.reachedServer} ${error.details}`.replaceAll(/\d{4,}/g, 'N');
    texts.set(key, (texts.get(key) ?? 0) + 1);
  }
  for (const [line, count] of [...texts].sort(([, a], [, b]) => b - a).slice(0, 8))
    console.log(`    ${count} × ${line}`);
  const latencies = calls.map(({ latencyMs = 0 }) => latencyMs).sort((a, b) => a - b);
  return {
    faults: spans.length,
    'longest fault, s': Math.max(...spans.map(({ fromMs, untilMs }) => untilMs - fromMs)) / 1_000,
    writes: calls.length,
    failed: calls.filter(({ error }) => error !== undefined).length,
    'in doubt': inDoubt.length,
    'in doubt without a fault': inDoubt.filter((call) => !spans.some((span) => met(call, span))).length,
    'done twice': [...done.values()].filter(({ length }) => length > 1).length,
    'answers unlike the order': [...answers].filter(
      ([number, { item, quantity, sequence }]) =>
        item !== `order-${number}` || quantity !== number || !sequencesOf(number).includes(sequence),
    ).length,
    'answered and not done': [...answers.keys()].filter((number) => sequencesOf(number).length === 0).length,
    'failed as not executed, and done': failures.filter(
      ({ number, error }) => error.reachedServer === 'no' && sequencesOf(number).length > 0,
    ).length,
    'begun while it was away, and not failed as not executed': away.filter(
      ({ error }) => !(error instanceof GrpcCallError && isRefused(error)),
    ).length,
    'longest write, s': (latencies.at(-1) ?? 0) / 1_000,
    'median write, ms': latencies[Math.trunc(latencies.length / 2)] ?? 0,
  };
}

console.log(`Writes, seed ${String(seed)}`);
const random = seededRandom(seed);
let [kept, broken] = [0, 0];
for (const kind of chosen) {
  const [isSkipped, note] = skipWithout(
    ...(kind.store === 'memory' ? [] : [kind.store]),
    ...(kind.isProxied === true ? (['haproxy'] as const) : []),
  );
  if (isSkipped) {
    console.log(`${titleOf(kind)}: skipped, because ${note}`);
    continue;
  }
  const from = Date.now();
  const errors: string[] = [];
  const measured = await measure(kind, random).catch((error: unknown) => {
    errors.push(String(error));
    return {};
  });
  const judgments = judge(kind, measured, 'full', 'all');
  const shown = new Set(judgments.map(({ figure }) => figure));
  const others = Object.entries(measured).filter(([figure]) => !shown.has(figure));
  const rows = [
    ...others.map(([figure, value]) => ({
      figure,
      value,
      bound: {},
      timed: false,
      ok: true,
      verdict: 'kept' as const,
    })),
    ...judgments.map((judgment) => ({ ...judgment, verdict: judgment.ok ? ('kept' as const) : ('broken' as const) })),
  ];
  console.log(tableOf(titleOf(kind), { rows, errors, seconds: (Date.now() - from) / 1_000, busy: undefined }));
  kept += judgments.filter(({ ok }) => ok).length;
  broken += judgments.filter(({ ok }) => !ok).length + errors.length;
}
console.log(`\n${String(kept)} kept, ${String(broken)} broken`);
process.exit(broken > 0 ? 1 : 0);
