import { type DynamicModule, Module } from '@nestjs/common';
import { type ClientGrpc, ClientsModule, Transport } from '@nestjs/microservices';
import { type ResilientGrpcClient, ResilientGrpcModule } from 'nestjs-resilient-grpc';
import type { ContenderName } from '../contenders/contender.js';
import { RESILIENT_CLIENT } from '../contenders/resilient-contender.js';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import { PATIENCE } from '../patience.js';
import { Background, BUSY } from './background.js';
import { GATEWAY_ORDERS, ORDER_POLL_CONFIG } from './gateway-orders.js';
import { PlainGatewayOrders, TunedGatewayOrders } from './nest-gateway-orders.js';
import type { GatewayOptions } from './messages.js';
import { OrdersGatewayController } from './orders-gateway.controller.js';
import { ResilientGatewayOrders } from './resilient-gateway-orders.js';

const NEST_CLIENT = Symbol('Nest ClientGrpc');
/** Maximum duration of our client's shutdown. */
const DRAIN_MS = 3_000 * PATIENCE;

/** A gateway with the client of one contender. */
@Module({ controllers: [OrdersGatewayController], providers: [Background] })
export class ShutdownGatewayModule {
  static forContender({ contender, url, busy }: GatewayOptions): DynamicModule {
    const { imports, provider } = CLIENTS[contender](url);
    return {
      module: ShutdownGatewayModule,
      imports,
      providers: [
        { provide: GATEWAY_ORDERS, ...provider },
        { provide: BUSY, useValue: busy },
      ],
    };
  }
}

type Client = Required<Pick<DynamicModule, 'imports'>> & {
  readonly provider: { readonly inject: (string | symbol)[]; readonly useFactory: (client: never) => object };
};

const CLIENTS: Readonly<Record<ContenderName, (url: string) => Client>> = {
  plain: (url) => ({
    imports: [
      ClientsModule.register([{ name: NEST_CLIENT, transport: Transport.GRPC, options: { ...ORDERS_CONTRACT, url } }]),
    ],
    provider: { inject: [NEST_CLIENT], useFactory: (client: ClientGrpc) => new PlainGatewayOrders(client) },
  }),
  tuned: (url) => ({
    imports: [
      ClientsModule.register([
        {
          name: NEST_CLIENT,
          transport: Transport.GRPC,
          options: {
            ...ORDERS_CONTRACT,
            url,
            channelOptions: { 'grpc.service_config': JSON.stringify({ methodConfig: ORDER_POLL_CONFIG }) },
          },
        },
      ]),
    ],
    provider: { inject: [NEST_CLIENT], useFactory: (client: ClientGrpc) => new TunedGatewayOrders(client) },
  }),
  resilient: (url) => ({
    imports: [
      ResilientGrpcModule.forRoot({ drain: { timeoutMs: DRAIN_MS } }),
      ResilientGrpcModule.forFeature([
        { ...ORDERS_CONTRACT, name: RESILIENT_CLIENT, url, serviceConfig: { methodConfig: ORDER_POLL_CONFIG } },
      ]),
    ],
    provider: {
      inject: [RESILIENT_CLIENT],
      useFactory: (client: ResilientGrpcClient) => new ResilientGatewayOrders(client),
    },
  }),
};
