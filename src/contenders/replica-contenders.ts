import { type ClientGrpcProxy, ClientProxyFactory, Transport } from '@nestjs/microservices';
import type { GrpcClients, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { ORDERS_SERVICE_NAME, type OrdersClient } from '../gen/orders.pb.js';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import { PATIENCE } from '../patience.js';
import type { Contender } from './contender.js';
import { ROUND_ROBIN_SETUP } from './contender-setup.js';
import { NestContender } from './nest-contender.js';
import { tracedEjections } from './outlier-trace.js';
import { ResilientContender } from './resilient-contender.js';
import { tunedOptions } from './tuned-options.js';

/** Name of our client, which is part of its log lines. */
const REPLICAS_CLIENT = 'replicas';

/** Timeout of each call. */
const CALL_TIMEOUT_MS = 2_000 * PATIENCE;
/** Timeout of each attempt of our client. grpc-js has no option for it. */
const ATTEMPT_TIMEOUT_MS = 600 * PATIENCE;
/**
 * Retry throttling that permits 100 simultaneous retries, for the calls in flight to a replica when it freezes. Our default permits
 * far fewer, because it cannot distinguish an unhealthy replica from an unhealthy service. grpc-js has no limit by default.
 */
const RETRY_THROTTLING = { maxTokens: 200, tokenRatio: 0.1 };

/** Options of the contenders. */
export interface ReplicaContenderOptions {
  /** A gRPC target with the addresses of all replicas. */
  readonly url: string;
  /** Duration of the first ejection of an endpoint, for all contenders that eject. */
  readonly ejectionMs: number;
}

/** The contenders of the scenario `replicas`. They are not providers of a module, because each run on the page needs new ones. */
export class ReplicaContenders {
  private constructor(
    /** The contenders in the order of `CONTENDER_NAMES`. */
    readonly all: readonly Contender[],
    private readonly nestClients: readonly ClientGrpcProxy[],
    private readonly client: ResilientGrpcClient,
  ) {}

  /** Creates the contenders. Our client is created by `clients`, so that the dashboard shows it. */
  static create(clients: GrpcClients, { url, ejectionMs }: ReplicaContenderOptions): ReplicaContenders {
    const nestClient = (setup: object): ClientGrpcProxy =>
      ClientProxyFactory.create({ transport: Transport.GRPC, options: { ...ORDERS_CONTRACT, url, ...setup } });
    const plain = nestClient({ ...ROUND_ROBIN_SETUP.plain });
    const tuned = nestClient(tunedOptions({ loadBalancingConfig: [outlierDetection(ejectionMs)] }));
    const client = clients.create({
      ...ORDERS_CONTRACT,
      name: REPLICAS_CLIENT,
      url,
      loadBalancing: 'round_robin',
      ejectUnhealthy: { baseEjectionTimeMs: ejectionMs },
      timeoutMs: CALL_TIMEOUT_MS,
      serviceConfig: { retryThrottling: RETRY_THROTTLING },
      methods: { Get: { attemptTimeoutMs: ATTEMPT_TIMEOUT_MS } },
    });
    return new ReplicaContenders(
      [
        new NestContender('plain', plain, CALL_TIMEOUT_MS),
        new EjectingNestContender('tuned', tuned, CALL_TIMEOUT_MS),
        new EjectingContender(client.getService<OrdersClient>(ORDERS_SERVICE_NAME), client),
      ],
      [plain, tuned],
      client,
    );
  }

  async close(): Promise<void> {
    for (const client of this.nestClients) client.close();
    await this.client.close();
  }
}

/** Nest's client with the outlier detection of grpc-js. */
class EjectingNestContender extends NestContender {
  private readonly ejectionsBefore = tracedEjections();

  ejections(): number {
    return tracedEjections() - this.ejectionsBefore;
  }
}

/** Our client with `ejectUnhealthy`. */
class EjectingContender extends ResilientContender {
  private ejectionCount = 0;

  constructor(...[orders, client]: ConstructorParameters<typeof ResilientContender>) {
    super(orders, client);
    // Needs no unsubscription, because `events$` completes when the client closes.
    client.events$.subscribe((event) => {
      if (event.type === 'endpoint' && event.change === 'ejected') this.ejectionCount += 1;
    });
  }

  ejections(): number {
    return this.ejectionCount;
  }
}

/** Returns the load balancing config of outlier detection, with values that let grpc-js eject one of three replicas within 1 to 2 s. */
function outlierDetection(ejectionMs: number): object {
  return {
    outlier_detection: {
      interval: { seconds: 1, nanos: 0 },
      base_ejection_time: duration(ejectionMs),
      max_ejection_percent: 50,
      failure_percentage_ejection: { threshold: 50, enforcement_percentage: 100, minimum_hosts: 3, request_volume: 5 },
      child_policy: [{ round_robin: {} }],
    },
  };
}

function duration(milliseconds: number): object {
  const seconds = Math.floor(milliseconds / 1_000);
  return { seconds, nanos: (milliseconds - seconds * 1_000) * 1_000_000 };
}
