import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import type { TestContext } from 'vitest';
import { ORDERS_PROTO, startOrdersApp, type OrdersApp, type OrdersSettings } from '../support/orders-app.js';

/** The .proto file of grpc.health.v1 in the package grpc-health-check. */
export const HEALTH_PROTO = join(
  dirname(createRequire(import.meta.url).resolve('grpc-health-check')),
  '../../proto/health/v1/health.proto',
);

/** `onTestFinished` of the test context, because tests run concurrently. */
export type Cleanup = TestContext['onTestFinished'];

/** Starts an application with a client. The application is closed after the test. */
export async function startApp(onTestFinished: Cleanup, settings: OrdersSettings): Promise<OrdersApp> {
  const app = await startOrdersApp(settings);
  onTestFinished(() => app.close());
  return app;
}

/** Starts an orders server, with the health service if `health` is given. The server is closed after the test. */
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

/** A duration equal to the timeout of a test. */
export const TEST_TIMEOUT_MS = 60_000;

/** One entry of a report. */
export interface Entry {
  readonly status: string;
  readonly degraded?: boolean;
  readonly message?: string;
  readonly [detail: string]: unknown;
}

/** The status of an entry. Terminus 12 reports 'degraded' as a status; Terminus 11 has no such status. */
export function statusOf({ status, degraded }: Entry): 'up' | 'degraded' | 'down' {
  // The cast is safe because Terminus has no other status.
  return degraded === true ? 'degraded' : (status as 'up' | 'degraded' | 'down');
}

/** The only entry of a result. */
export function entryOf(result: object): Entry {
  const [entry] = Object.values(result) as Entry[];
  return entry!;
}

/** The health of the channel of the application's first client. */
export async function channelOf({ health, client }: OrdersApp): Promise<Entry> {
  return entryOf(await health.check(client.name));
}

/**
 * Checks if the server of the application's first client is serving. By default, the check has the timeout of a test. A slow response
 * on a busy machine therefore passes, and a check that receives no response fails the test.
 */
export async function servingOf(
  { serving, client }: OrdersApp,
  options?: Parameters<OrdersApp['serving']['check']>[1],
): Promise<Entry> {
  return entryOf(await serving.check(client.name, { timeoutMs: TEST_TIMEOUT_MS, ...options }));
}

/** Error and end time of a call. */
export interface CallOutcome {
  readonly error: GrpcCallError | undefined;
  /** True if the call ended within 100 ms plus a few event-loop turns. A pause of this process therefore does not count. */
  readonly isImmediate: boolean;
  /** Milliseconds since 1970. */
  readonly endedAt: number;
}

/** Starts a call and resolves to its outcome. */
export async function outcomeOf(call: Observable<unknown>): Promise<CallOutcome> {
  let late = false;
  const timer = setTimeout(() => {
    // Runs last among all callbacks that are due at the same time.
    void turns(10).then(() => (late = true));
  }, 100);
  const error = await firstValueFrom(call).then(
    () => undefined,
    (failure: unknown) => failure as GrpcCallError,
  );
  clearTimeout(timer);
  return { error, isImmediate: !late, endedAt: Date.now() };
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}
