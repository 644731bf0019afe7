import { type DynamicModule, Module } from '@nestjs/common';
import { ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import { PATIENCE } from '../patience.js';
import { OrderLog } from './order-log.js';
import { OrdersController, Workload } from './orders.controller.js';
import { Production } from './production.js';

/** Number of initial orders, which the reads request. */
const SEED_ORDERS = 100;
/** Time for calls to finish on a connection that has reached its maximum age. */
const AGE_GRACE_MS = 300;
/** Maximum duration of our server's shutdown. */
const DRAIN_MS = 3_000 * PATIENCE;

/** Options of an upstream process. */
export interface UpstreamSetup {
  readonly port: number;
  /** Path of the log, which other processes may share. */
  readonly logPath: string;
  readonly connectionAgeMs: number | undefined;
}

/** The upstream: a controller, a log, and the server. */
@Module({ controllers: [OrdersController], providers: [Production, Workload] })
export class UpstreamModule {
  static serve({ port, logPath, connectionAgeMs }: UpstreamSetup): DynamicModule {
    const age = { 'grpc.max_connection_age_ms': connectionAgeMs, 'grpc.max_connection_age_grace_ms': AGE_GRACE_MS };
    return {
      module: UpstreamModule,
      imports: [
        ResilientGrpcServerModule.forRoot({
          ...ORDERS_CONTRACT,
          url: `127.0.0.1:${port}`,
          ...(connectionAgeMs !== undefined && { channelOptions: age }),
          drain: { timeoutMs: DRAIN_MS },
        }),
      ],
      providers: [{ provide: OrderLog, useFactory: () => seed(new OrderLog(logPath)) }],
    };
  }
}

function seed(log: OrderLog): OrderLog {
  while (log.length < SEED_ORDERS) log.append({ requestId: `seed-${log.length}`, item: 'tea', quantity: 1 });
  return log;
}
