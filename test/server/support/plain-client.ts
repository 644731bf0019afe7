import {
  credentials,
  makeGenericClientConstructor,
  type Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ServiceDefinition,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Observable } from 'rxjs';
import { onTestFinished as afterCurrentTest } from 'vitest';
import { HEALTH_PROTO } from '../served-orders.js';

const file = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
// The cast is safe because these names are services in the .proto files.
const ordersService = loadSync(file('protos/orders.proto'), { longs: String })['orders.v1.Orders'] as ServiceDefinition;
const healthService = loadSync(HEALTH_PROTO, { enums: String })['grpc.health.v1.Health'] as ServiceDefinition;

type Unary = (
  request: object,
  options: object,
  callback: (error: ServiceError | null, answer: unknown) => void,
) => unknown;
type ServerStream = (request: object) => ClientReadableStream<unknown>;

/** A stream as received by its client. */
export interface SeenStream {
  readonly call: ClientReadableStream<unknown>;
  readonly messages: readonly unknown[];
  /** `undefined` while the stream is open. */
  readonly status: StatusObject | undefined;
}

/** A plain grpc-js client with its own connections. It is closed at the end of the test. */
export class PlainClient {
  private readonly orders: Client;
  private readonly health: Client;

  /** @param options channel options; concurrent tests must also pass the `onTestFinished` of their test context */
  constructor(
    url: string,
    {
      tls = false,
      onTestFinished = afterCurrentTest,
      ...options
    }: ClientOptions & { tls?: boolean; onTestFinished?: (close: () => void) => void } = {},
  ) {
    const security = tls
      ? credentials.createSsl(readFileSync(file('test/fixtures/tls/ca.pem')))
      : credentials.createInsecure();
    const channelOptions = { 'grpc.use_local_subchannel_pool': 1, ...options };
    const Orders = makeGenericClientConstructor(ordersService, 'Orders');
    const Health = makeGenericClientConstructor(healthService, 'Health');
    this.orders = new Orders(url, security, channelOptions);
    this.health = new Health(url, security, channelOptions);
    onTestFinished(() => {
      this.close();
    });
  }

  close(): void {
    this.orders.close();
    this.health.close();
  }

  /** `orders.v1.Orders/Get`, with a timeout of 40 s by default */
  get(id = '1', timeoutMs?: number): Promise<unknown> {
    return this.unary(this.orders, 'Get', { id }, timeoutMs);
  }

  /** Like `get`, as an Observable for `CallLoad`. */
  get$(id = '1'): Observable<unknown> {
    return new Observable((subscriber) => {
      this.get(id).then(
        (answer) => {
          subscriber.next(answer);
          subscriber.complete();
        },
        (error: unknown) => {
          subscriber.error(error);
        },
      );
    });
  }

  /** `orders.v1.Orders/Watch`: one event; if `from` is 1, as many events as the client reads. */
  watch(from = 0): SeenStream {
    return this.stream(this.orders, 'Watch', { from });
  }

  /** `orders.v1.Orders/Session` with one request; `send()` sends another. The server echoes each request. */
  session(): SeenStream & { send(): void } {
    // The cast is safe because grpc-js creates a method for each rpc.
    const open = Reflect.get(this.orders, 'Session') as () => ClientDuplexStream<unknown, unknown>;
    const call = open.call(this.orders);
    const send = () => void call.write({ messageId: 1 });
    send();
    return Object.assign(seenOf(call), { send });
  }

  /** `grpc.health.v1.Health/Check` of the whole server */
  check(): Promise<unknown> {
    return this.unary(this.health, 'check', { service: '' });
  }

  /** `grpc.health.v1.Health/Watch` of the whole server */
  watchHealth(): SeenStream {
    return this.stream(this.health, 'watch', { service: '' });
  }

  private unary(client: Client, method: string, request: object, timeoutMs = 40_000): Promise<unknown> {
    // The cast is safe because grpc-js creates a method for each rpc.
    const call = Reflect.get(client, method) as Unary;
    return new Promise((resolve, reject) => {
      call.call(client, request, { deadline: Date.now() + timeoutMs }, (error, answer) => {
        if (error === null) resolve(answer);
        else reject(error);
      });
    });
  }

  private stream(client: Client, method: string, request: object): SeenStream {
    // The cast is safe because grpc-js creates a method for each rpc.
    return seenOf((Reflect.get(client, method) as ServerStream).call(client, request));
  }
}

function seenOf(call: ClientReadableStream<unknown>): SeenStream {
  const seen = { call, messages: [] as unknown[], status: undefined as StatusObject | undefined };
  call.on('data', (message) => seen.messages.push(message));
  call.on('error', () => undefined);
  call.on('status', (status) => (seen.status = status));
  return seen;
}
