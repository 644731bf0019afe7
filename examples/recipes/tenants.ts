// #region all
import { Injectable } from '@nestjs/common';
import { GrpcClients, type Resilient, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import type { OrdersClient } from '../gen/orders.js';

@Injectable()
export class Tenants {
  readonly #clients = new Map<string, ResilientGrpcClient>();

  constructor(private readonly grpc: GrpcClients) {}

  /** Returns the service of a tenant. All calls of the tenant share one connection. */
  orders(tenant: string, url: string): Resilient<OrdersClient> {
    let client = this.#clients.get(tenant);
    if (client === undefined) {
      client = this.grpc.create({ name: `orders-${tenant}`, protoPath: 'protos/orders.proto', url, timeoutMs: 2_000 });
      this.#clients.set(tenant, client);
    }
    return client.getService<OrdersClient>('Orders');
  }

  /** Lets active calls finish within 5 s, then closes the connection. */
  async remove(tenant: string): Promise<void> {
    const client = this.#clients.get(tenant);
    this.#clients.delete(tenant);
    await client?.drain({ timeoutMs: 5_000 });
  }
}
// #endregion
