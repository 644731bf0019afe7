import {
  ResilientGrpcModule,
  dnsServiceConfig,
  type GrpcClientOptions,
  type GrpcClientSettings,
  type OutgoingAttempt,
  type OutgoingCall,
  type Resilient,
} from 'nestjs-resilient-grpc';
import type { ClientGrpc } from '@nestjs/microservices';
import type { ResilientGrpcClient } from 'nestjs-resilient-grpc';
import type { Observable } from 'rxjs';
import { describe, expectTypeOf, it } from 'vitest';
import type { OrdersClient } from './orders-client.js';

const orders = { name: 'orders', protoPath: 'orders.proto' };

/** Never called: TypeScript reads it, and complains of an expected error that is none. */
export function refusedByTypes() {
  // @ts-expect-error the url is forgotten
  ResilientGrpcModule.forFeature([{ ...orders }]);
  // @ts-expect-error there is no contract
  ResilientGrpcModule.forFeature([{ name: 'x', url: 'y' }]);
  // @ts-expect-error Nest's nested form
  ResilientGrpcModule.forFeature([{ name: 'x', transport: 4, options: { url: '', package: '' } }]);
  // @ts-expect-error a slip of the pen
  ResilientGrpcModule.forFeature([{ ...orders, url: '', timeoutMS: 5 }]);
  // @ts-expect-error the factory forgets the url
  ResilientGrpcModule.forFeatureAsync([{ ...orders, useFactory: () => ({ timeoutMs: 4 }) }]);
  // @ts-expect-error two contracts
  ResilientGrpcModule.forFeature([{ ...orders, packageDefinition: {}, url: '' }]);
  // @ts-expect-error propagation by a word
  ResilientGrpcModule.forRoot({ propagate: true });
  // @ts-expect-error an interceptor of something else
  ResilientGrpcModule.forRoot({ defaults: { interceptors: [{ intercept: () => undefined }] } });
  // @ts-expect-error metadata of numbers
  ResilientGrpcModule.forRoot({ defaults: { metadata: () => ({ 'x-tenant': 7 }) } });
}

describe('types', () => {
  it('take what a service config file and a configuration service give', () => {
    const serviceConfig = { methodConfig: [{ name: [{ service: 'orders.v1.Orders' }], timeout: '2s' }] };
    const maybe = undefined as number | undefined;
    expectTypeOf({ ...orders, url: 'orders:1', serviceConfig, timeoutMs: maybe }).toExtend<GrpcClientOptions>();
  });

  it('take policies that change, interceptors by class, and metadata from a function', () => {
    class TokenInterceptor {
      constructor(readonly tokens: Map<string, string>) {}
      async onAttempt({ metadata }: OutgoingAttempt): Promise<void> {
        metadata.set('authorization', 'x');
      }
    }
    const settings = {
      url: 'orders:1',
      serviceConfig: dnsServiceConfig(),
      interceptors: [TokenInterceptor, new TokenInterceptor(new Map())],
      metadata: async ({ path }: OutgoingCall) => ({ 'x-path': path }),
      propagate: { deadline: true },
      methods: { '*': { circuitBreaker: {}, attemptTimeoutMs: 300, maxConcurrentCalls: 4 } },
    };
    expectTypeOf(settings).toExtend<GrpcClientSettings>();
  });

  it('fit where those of ts-proto and Nest were', () => {
    expectTypeOf<Resilient<OrdersClient>>().toExtend<OrdersClient>();
    expectTypeOf<ResilientGrpcClient>().toExtend<ClientGrpc>();
    expectTypeOf<ReturnType<Resilient<OrdersClient>['get']>>().toExtend<Observable<{ id: string }>>();
  });
});
