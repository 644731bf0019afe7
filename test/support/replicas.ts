import { promisify } from 'node:util';
import { loadSync } from '@grpc/proto-loader';
import { Server, ServerCredentials, type ServerUnaryCall, type ServiceDefinition } from '@grpc/grpc-js';
import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { resolveAt } from './name-lookup.js';
import { NameServer } from './name-server.js';
import { ORDERS_PROTO, startOrdersApp, type OrdersApp } from './orders-app.js';

/** A grpc-js server of `orders.v1.Orders` on its own loopback address, just as each pod has its own address. */
export interface Replica {
  readonly address: string;
  /** Number of calls that it received. */
  calls: number;
  /** Sends GOAWAY and rejects new connections; resolves when the last call has ended. */
  shutDown(): Promise<void>;
}

/** A client of replicas, with the number of its connections that a server or the network ended. */
export interface ReplicaClient {
  readonly app: OrdersApp;
  ended(): number;
}

/** Starts a client that balances its calls across `replicas`, and waits for its connections to them. It is closed at the end of the run. */
export async function startReplicaClient(
  { onEnd }: { onEnd(cleanUp: () => unknown): void },
  replicas: Replicas,
  settings: Partial<GrpcClientSettings>,
): Promise<ReplicaClient> {
  const app = await startOrdersApp({
    url: replicas.url,
    loadBalancing: 'round_robin',
    connections: { warm: true },
    ...settings,
  });
  onEnd(() => app.close());
  let ended = 0;
  app.client.events$.subscribe((event) => {
    if (event.type === 'connection' && event.change === 'ended') ended += 1;
  });
  const { length } = replicas.all;
  await waitFor(() => app.client.snapshot().connections.filter(({ state }) => state === 'READY').length === length, {
    timeoutMs: 60_000,
  });
  return { app, ended: () => ended };
}

/** Domain of the names that a `Replicas` resolves. RFC 6761 reserves it for tests. */
const DOMAIN = '.test';
let replicasSoFar = 0;

/** Replicas that share one DNS name, which resolves to the addresses of the listed replicas. */
export class Replicas {
  readonly all: Replica[] = [];
  /** Request IDs of the writes that the replicas executed. */
  readonly writes: string[] = [];
  /** Time in milliseconds until a Get or a Create is answered. */
  latencyMs = 0;
  private readonly servers: Server[] = [];
  private readonly held = new Set<() => void>();
  private readonly forgetName: () => void;

  private constructor(
    private readonly name: string,
    /** Resolves the name. */
    readonly nameServer: NameServer,
    private readonly network: number,
  ) {
    this.forgetName = resolveAt(name, nameServer.url);
  }

  /** Starts `count` replicas, and lists all of them. */
  static async start(count: number): Promise<Replicas> {
    const number = ++replicasSoFar;
    const nameServer = await NameServer.start();
    nameServer.hasRecords = true;
    const replicas = new Replicas(`orders-${String(number)}${DOMAIN}`, nameServer, number % 200);
    await replicas.scale(count);
    return replicas;
  }

  /** Target of the replicas: 'dns:///orders-1.test:port'. */
  get url(): string {
    return `dns:///${this.name}:${String(this.port)}`;
  }

  port = 0;

  /** Starts replicas until there are `count`, then lists the first `count`. Replicas that are no longer listed keep serving. */
  async scale(count: number): Promise<void> {
    while (this.all.length < count) await this.add();
    this.list(this.all.slice(0, count));
  }

  /** Sets the addresses of the name. */
  list(replicas: readonly Pick<Replica, 'address'>[]): void {
    this.nameServer.addresses = replicas.map(({ address }) => address);
  }

  /** Ends the held calls: each Get with the ID 'hold', and each Watch. */
  release(): void {
    for (const end of this.held) end();
    this.held.clear();
  }

  close(): void {
    this.release();
    for (const server of this.servers) server.forceShutdown();
    this.nameServer.close();
    this.forgetName();
  }

  /** Starts a replica without listing it. */
  async add(): Promise<Replica> {
    const address = `127.1.${String(this.network)}.${String(this.all.length + 1)}`;
    const server = new Server();
    const shutDown = () => promisify(server.tryShutdown.bind(server))();
    const replica: Replica = { address, calls: 0, shutDown };
    server.addService(
      loadSync(ORDERS_PROTO, { longs: String })['orders.v1.Orders'] as ServiceDefinition,
      this.methods(replica),
    );
    const bind = promisify(server.bindAsync.bind(server));
    this.port = await bind(`${address}:${String(this.port)}`, ServerCredentials.createInsecure());
    this.all.push(replica);
    this.servers.push(server);
    return replica;
  }

  private respondLater(respond: () => void): void {
    if (this.latencyMs === 0) respond();
    else setTimeout(respond, this.latencyMs);
  }

  /**
   * Handlers of `replica`. Get and Create respond after the latency, except a Get with the ID 'hold', which responds at `release()`.
   * Each Watch ends at `release()`; Session and Upload end with their requests.
   */
  private methods(replica: Replica) {
    const count = (): void => {
      replica.calls += 1;
    };
    return {
      Get: (call: ServerUnaryCall<{ id: string }, object>, callback: (error: null, value: object) => void) => {
        count();
        const { id } = call.request;
        const respond = () => {
          callback(null, { id, item: replica.address });
        };
        if (id === 'hold') this.held.add(respond);
        else this.respondLater(respond);
      },
      Watch: (call: WritableCall) => {
        count();
        call.write({ sequence: 1, order: { item: replica.address } });
        this.held.add(() => {
          call.write({ sequence: 2, order: { item: replica.address } });
          call.end();
        });
      },
      Create: (
        call: ServerUnaryCall<{ requestId: string }, object>,
        callback: (error: null, value: object) => void,
      ) => {
        count();
        this.writes.push(call.request.requestId);
        this.respondLater(() => {
          callback(null, { item: replica.address });
        });
      },
      Session: (call: WritableCall) => {
        count();
        call.on('data', ({ messageId }) => call.write({ messageId }));
        call.on('end', () => {
          call.end();
        });
      },
      Upload: (call: ReadableCall, callback: (error: null, value: object) => void) => {
        count();
        let messages = 0;
        call.on('data', () => (messages += 1));
        call.on('end', () => {
          callback(null, { count: messages });
        });
      },
    };
  }
}

/** The members of grpc-js's stream calls that the handlers use. */
interface ReadableCall {
  on(event: 'data' | 'end', listener: (message: { readonly messageId: string }) => void): unknown;
}
interface WritableCall extends ReadableCall {
  write(message: object): boolean;
  end(): void;
}
