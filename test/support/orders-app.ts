import { join } from 'node:path';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  ResilientGrpcModule,
  getGrpcClientToken,
  type GrpcClientSettings,
  type Resilient,
  type ResilientGrpcClient,
  type ResilientGrpcModuleOptions,
} from 'nestjs-resilient-grpc';
import {
  GrpcChannelHealthIndicator,
  GrpcReadinessHealthIndicator,
  GrpcServingHealthIndicator,
  ResilientGrpcHealthModule,
} from 'nestjs-resilient-grpc/health';
import type { OrdersClient } from '../../src/gen/orders.pb.js';
import { CapturedLog, type LogLine } from './captured-log.js';

export const ORDERS_PROTO = join(import.meta.dirname, '../../protos/orders.proto');

/** Path of a PEM file with a certificate or a key. */
export const certificate = (name: string) => join(import.meta.dirname, '../fixtures/tls', `${name}.pem`);

/** A client of an `OrdersApp`. */
export interface OrdersOf {
  readonly client: ResilientGrpcClient;
  readonly orders: Resilient<OrdersClient>;
  /** Lines that the client has logged since the application started. */
  readonly lines: readonly LogLine[];
}

/** A Nest application with clients of `orders.v1.Orders`. */
export interface OrdersApp extends OrdersOf {
  readonly clients: readonly OrdersOf[];
  readonly health: GrpcChannelHealthIndicator;
  readonly readiness: GrpcReadinessHealthIndicator;
  readonly serving: GrpcServingHealthIndicator;
  close(): Promise<void>;
}

// Nest has one logger per process, so unique client names distinguish the lines of each client.
const log = new CapturedLog();
let clientsSoFar = 0;

/** Settings of a client, and optionally a contract that replaces the contract of the orders service. */
export type OrdersSettings = GrpcClientSettings & {
  readonly protoPath?: readonly string[];
  readonly package?: readonly string[];
};

/** Starts an application with a client for each of `settings`. The result also has the properties of the first client. */
export async function startOrdersApp(
  settings: OrdersSettings | readonly OrdersSettings[],
  root: ResilientGrpcModuleOptions = {},
): Promise<OrdersApp> {
  const named = [settings].flat().map((one) => ({ ...one, name: `orders-${++clientsSoFar}` }));
  const contract = { protoPath: ORDERS_PROTO, package: 'orders.v1', loader: { longs: String } };
  const context = await Test.createTestingModule({
    imports: [
      ResilientGrpcModule.forRoot(root),
      ResilientGrpcModule.forFeature(named.map((one) => ({ ...contract, ...one }))),
      ResilientGrpcHealthModule,
    ],
  })
    .setLogger(log)
    .compile();
  await context.init();
  const startIndex = log.lines.length;
  const clients = named.map(({ name }) => ordersOf(context, name, startIndex));
  const [first] = clients as [OrdersOf];
  // Object.assign keeps the getter `lines`, which a spread would evaluate.
  return Object.assign(first, {
    clients,
    health: context.get(GrpcChannelHealthIndicator),
    readiness: context.get(GrpcReadinessHealthIndicator),
    serving: context.get(GrpcServingHealthIndicator),
    close: () => context.close(),
  });
}

function ordersOf(context: TestingModule, name: string, startIndex: number): OrdersOf {
  const client = context.get<ResilientGrpcClient>(getGrpcClientToken(name));
  const own = (line: LogLine) => line.context === `ResilientGrpc:${name}`;
  return {
    client,
    orders: client.getService<OrdersClient>('Orders'),
    get lines() {
      return log.lines.slice(startIndex).filter(own);
    },
  };
}

/** Discards all logged lines, for processes that start many applications. */
export function forgetLines(): void {
  log.lines.length = 0;
}

/** Lines above the debug level. */
export function aboveDebug({ lines }: OrdersOf): readonly string[] {
  return lines.filter(({ level }) => level !== 'debug').map(({ level, text }) => `${level}: ${text}`);
}

const SLOW_CONNECTION = 'warn: no connection to ';

/** Lines above debug that report a slow connection. A machine that is too busy to connect also causes them. */
export function slowConnections(app: OrdersOf): readonly string[] {
  return aboveDebug(app).filter((line) => line.startsWith(SLOW_CONNECTION));
}

/** Lines above debug, without the reports of slow connections. */
export function otherThanSlow(app: OrdersOf): readonly string[] {
  return aboveDebug(app).filter((line) => !line.startsWith(SLOW_CONNECTION));
}
