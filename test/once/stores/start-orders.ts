import { fileURLToPath } from 'node:url';
import { ChildServer } from 'nestjs-resilient-grpc/testing';
import type { OrdersProcessOptions } from './orders-process.js';

const LOADER = fileURLToPath(new URL('../../support/typescript.mjs', import.meta.url));

/** Starts a server whose `Create` runs once for each key, in its own process. `options` are asked for at each start. */
export function startOrders(options: (port: number) => OrdersProcessOptions): Promise<ChildServer> {
  return ChildServer.start({
    script: new URL('./orders-process.ts', import.meta.url),
    args: (port) => [JSON.stringify(options(port))],
    execArgv: ['--import', LOADER],
    readyTimeoutMs: 60_000,
  });
}
