// #region all
import { Metadata } from '@grpc/grpc-js';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { ClientGrpc } from '@nestjs/microservices';
import type { OrdersClient } from '../gen/orders.js';

@Injectable()
export class OrdersGateway implements OnModuleInit {
  private orders!: OrdersClient;

  constructor(@Inject('orders') private readonly client: ClientGrpc) {}

  onModuleInit(): void {
    this.orders = this.client.getService<OrdersClient>('Orders');
  }

  get(id: string) {
    return this.orders.get({ id }, new Metadata());
  }
}
// #endregion
