import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { ResilientGrpcServerModule, type ResilientGrpcServerOptions } from 'nestjs-resilient-grpc/server';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import { PATIENCE } from '../patience.js';
import { ArrivalsInterceptor } from './arrivals.interceptor.js';
import { DurableCounts } from './durable-counts.js';
import { IterablesInterceptor } from './iterables.interceptor.js';
import { OrderLog } from './order-log.js';
import { OrdersController } from './orders.controller.js';
import { Production } from './production.js';
import type { ServerKind } from './server-kind.js';
import { Workload } from './work.js';

/** Number of initial orders, which the reads request. */
const SEED_ORDERS = 100;
/** Time for calls to finish on a connection that has reached its maximum age. */
const AGE_GRACE_MS = 300;
/** Maximum duration of our server's shutdown. */
const DRAIN_MS = 3_000 * PATIENCE;

/** Options of an upstream process. */
export interface UpstreamSetup {
  readonly server: ServerKind;
  readonly port: number;
  /** Path of the log, which other processes may share. */
  readonly logPath: string;
  /** Path prefix of the files with the counts of requests and connections. Replicas do not share these files. */
  readonly countsPath: string;
  readonly connectionAgeMs: number | undefined;
}

/** Returns the options for either server, with Nest's option names. */
export function serverOptions({ port, connectionAgeMs }: UpstreamSetup): ResilientGrpcServerOptions {
  const age = { 'grpc.max_connection_age_ms': connectionAgeMs, 'grpc.max_connection_age_grace_ms': AGE_GRACE_MS };
  return {
    ...ORDERS_CONTRACT,
    url: `127.0.0.1:${port}`,
    ...(connectionAgeMs !== undefined && { channelOptions: age }),
  };
}

/** The upstream: a controller and a log, the same for either server. */
@Module({ controllers: [OrdersController], providers: [Production, Workload] })
export class UpstreamModule {
  static serve(setup: UpstreamSetup): DynamicModule {
    const { server, logPath, countsPath } = setup;
    const arrivals: Provider = {
      provide: APP_INTERCEPTOR,
      useFactory: () =>
        new ArrivalsInterceptor(
          new DurableCounts(`${countsPath}.requests`),
          new DurableCounts(`${countsPath}.connections`),
        ),
    };
    const ours = ResilientGrpcServerModule.forRoot({ ...serverOptions(setup), drain: { timeoutMs: DRAIN_MS } });
    return {
      module: UpstreamModule,
      imports: server === 'resilient' ? [ours] : [],
      providers: [
        { provide: OrderLog, useFactory: () => seed(new OrderLog(logPath)) },
        arrivals,
        ...(server === 'nest' ? [{ provide: APP_INTERCEPTOR, useClass: IterablesInterceptor }] : []),
      ],
    };
  }
}

function seed(log: OrderLog): OrderLog {
  while (log.length < SEED_ORDERS) log.append({ requestId: `seed-${log.length}`, item: 'tea', quantity: 1 });
  return log;
}
