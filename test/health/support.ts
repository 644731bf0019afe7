import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { GrpcClientSettings, GrpcCallError } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import type { TestContext } from 'vitest';
import { ORDERS_PROTO, startOrdersApp, type OrdersApp } from '../support/orders-app.js';

/** The proto of grpc.health.v1, as its package has it. */
const HEALTH_PROTO = join(
  dirname(createRequire(import.meta.url).resolve('grpc-health-check')),
  '../../proto/health/v1/health.proto',
);

/** Of the test, as tests run side by side. */
export type Cleanup = TestContext['onTestFinished'];

/** An application with a client; closed after the test. */
export async function startApp(onTestFinished: Cleanup, settings: GrpcClientSettings): Promise<OrdersApp> {
  const app = await startOrdersApp(settings);
  onTestFinished(() => app.close());
  return app;
}

/** A server of orders, with the health service unless its scripts are left out; closed after the test. */
export async function startScripted(
  onTestFinished: Cleanup,
  health: NonNullable<Parameters<typeof ScriptedGrpcServer.start>[0]['scripts']> | undefined,
  more: Partial<Parameters<typeof ScriptedGrpcServer.start>[0]> = {},
): Promise<ScriptedGrpcServer> {
  const server = await ScriptedGrpcServer.start({
    protoPath: health === undefined ? ORDERS_PROTO : [ORDERS_PROTO, HEALTH_PROTO],
    loader: { enums: String },
    scripts: { Get: { message: { id: '1' } }, ...health },
    ...more,
  });
  onTestFinished(() => server.close());
  return server;
}

/** Longer than a test may take. */
export const NOT_IN_THIS_TEST_MS = 60_000;

/** One entry of a report. */
export interface Entry {
  readonly status: string;
  readonly degraded?: boolean;
  readonly message?: string;
  readonly [detail: string]: unknown;
}

/** What health says, with `degraded` as Terminus 12 says it: 11 has no word for it. */
export function wordOf({ status, degraded }: Entry): 'up' | 'degraded' | 'down' {
  // True: Terminus has no other.
  return degraded === true ? 'degraded' : (status as 'up' | 'degraded' | 'down');
}

/** The one entry of a result. */
export function entryOf(result: object): Entry {
  const [entry] = Object.values(result) as Entry[];
  return entry!;
}

/** What the channel of the application's first client says. */
export async function channelOf({ health, client }: OrdersApp): Promise<Entry> {
  return entryOf(await health.check(client.name));
}

/**
 * Asks whether the server of the application's first client serves. An answer may take the time that a busy machine needs; a check
 * that waits for its timeout fails the test.
 */
export async function servingOf(
  { serving, client }: OrdersApp,
  options?: Parameters<OrdersApp['serving']['check']>[1],
): Promise<Entry> {
  return entryOf(await serving.check(client.name, { timeoutMs: NOT_IN_THIS_TEST_MS, ...options }));
}

/** How a call ended, and when. */
export interface Met {
  readonly error: GrpcCallError | undefined;
  /** It ended within 100 ms, by a timer of this process: where that stands still, so does the call. */
  readonly atOnce: boolean;
  readonly afterMs: number;
  /** Milliseconds since 1970. */
  readonly endedAt: number;
}

/** Makes a call and tells what it met. */
export async function meet(call: Observable<unknown>): Promise<Met> {
  const beganAt = performance.now();
  let late = false;
  const timer = setTimeout(() => {
    // Whatever was due at the same time comes first.
    void turns(10).then(() => (late = true));
  }, 100);
  const error = await firstValueFrom(call).then(
    () => undefined,
    (failure: unknown) => failure as GrpcCallError,
  );
  clearTimeout(timer);
  return { error, atOnce: !late, afterMs: performance.now() - beganAt, endedAt: Date.now() };
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}
