import type { Metadata } from '@grpc/grpc-js';
import {
  ResilientGrpcModule,
  dnsServiceConfig,
  type GrpcClientOptions,
  type GrpcClientSettings,
  type GrpcObservable,
  type OutgoingAttempt,
  type OutgoingCall,
  type GrpcCallOptions,
  type RequestStream,
  type Resilient,
} from 'nestjs-resilient-grpc';
import type { ClientGrpc, ClientOptions, GrpcOptions } from '@nestjs/microservices';
import type { ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { fakeGrpcService } from 'nestjs-resilient-grpc/testing';
import type { Observable } from 'rxjs';
import { describe, expectTypeOf, it } from 'vitest';
import type { OrdersClient } from './orders-client.js';

const orders = { name: 'orders', protoPath: 'orders.proto' };

/** Never called. TypeScript compiles the function and reports each `@ts-expect-error` whose next line has no error. */
export function rejectedByTypes() {
  // @ts-expect-error missing url
  ResilientGrpcModule.forFeature([{ ...orders }]);
  // @ts-expect-error neither protoPath nor packageDefinition
  ResilientGrpcModule.forFeature([{ name: 'x', url: 'y' }]);
  // @ts-expect-error gRPC options with another transport
  ResilientGrpcModule.forFeature([{ name: 'x', transport: 0, options: { url: '', package: '' } }]);
  // @ts-expect-error misspelled key next to Nest's `options`
  ResilientGrpcModule.forFeature([{ name: 'x', transport: 4, options: { url: '', package: '' }, timeoutMS: 5 }]);
  // @ts-expect-error misspelled key
  ResilientGrpcModule.forFeature([{ ...orders, url: '', timeoutMS: 5 }]);
  // @ts-expect-error the factory returns no url
  ResilientGrpcModule.forFeatureAsync([{ ...orders, useFactory: () => ({ timeoutMs: 4 }) }]);
  // @ts-expect-error both protoPath and packageDefinition
  ResilientGrpcModule.forFeature([{ ...orders, packageDefinition: {}, url: '' }]);
  // @ts-expect-error propagate is not an object
  ResilientGrpcModule.forRoot({ propagate: true });
  // @ts-expect-error an object without interceptor methods
  ResilientGrpcModule.forRoot({ defaults: { interceptors: [{ intercept: () => undefined }] } });
  // @ts-expect-error a percentile that hedging does not support
  ResilientGrpcModule.forFeature([{ ...orders, url: '', methods: { Get: { hedge: 'p50' } } }]);
  // @ts-expect-error a misspelled limit
  ResilientGrpcModule.forRoot({ defaults: { maxConcurrentCalls: 'adaptve' } });
  // @ts-expect-error metadata values that are numbers
  ResilientGrpcModule.forRoot({ defaults: { metadata: () => ({ 'x-tenant': 7 }) } });
}

type Method<Request, Response> = (
  request: Request,
  metadataOrOptions?: Metadata | GrpcCallOptions | null,
  options?: GrpcCallOptions,
) => GrpcObservable<Response>;

describe('option types', () => {
  it('accepts a parsed service config file and optional values from a configuration service in the client option types', () => {
    const serviceConfig = { methodConfig: [{ name: [{ service: 'orders.v1.Orders' }], timeout: '2s' }] };
    const maybe = undefined as number | undefined;
    expectTypeOf({ ...orders, url: 'orders:1', serviceConfig, timeoutMs: maybe }).toExtend<GrpcClientOptions>();
  });

  it('accepts a service config Observable, interceptor classes, and a metadata function in the types of the client settings', () => {
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
      methods: {
        '*': { circuitBreaker: {}, attemptTimeoutMs: 300, maxConcurrentCalls: 4, hedge: 'p95' as const },
      },
      maxConcurrentCalls: 'adaptive' as const,
    };
    expectTypeOf(settings).toExtend<GrpcClientSettings>();
  });

  it("accepts a constant of Nest's type ClientOptions, with settings of this library, in the types of forFeature()", () => {
    const accepts = (shared: ClientOptions) => ResilientGrpcModule.forFeature([{ name: 'x', ...shared, timeoutMs: 5 }]);
    expectTypeOf(accepts).toBeFunction();
  });

  it('accepts a url and a spread GrpcOptions constant in any order in the types of forFeature()', () => {
    const accepts = (grpc: GrpcOptions, url: string) =>
      ResilientGrpcModule.forFeature([
        { name: 'x', url, ...grpc },
        { name: 'x', ...grpc, url, timeoutMs: 5 },
      ]);
    expectTypeOf(accepts).toBeFunction();
  });

  it("makes clients assignable to Nest's ClientGrpc, and services to the interfaces that ts-proto generates", () => {
    expectTypeOf<Resilient<OrdersClient>>().toExtend<OrdersClient>();
    expectTypeOf<ResilientGrpcClient>().toExtend<ClientGrpc>();
    expectTypeOf<ReturnType<Resilient<OrdersClient>['get']>>().toExtend<Observable<{ id: string }>>();
  });

  it('returns the same type of call from a method, whether its generated signature returns a promise or an Observable', () => {
    type Order = { readonly id: string };
    interface PromiseOrders {
      get(request: { id: string }): Promise<Order>;
      upload(request: Observable<Order>, metadata?: Metadata): Promise<Order>;
      watch(request: { from: string }): Observable<Order>;
      readonly version: string;
    }
    type Orders = Resilient<PromiseOrders>;
    expectTypeOf<Orders['get']>().toEqualTypeOf<Method<{ id: string }, Order>>();
    expectTypeOf<Orders['upload']>().toEqualTypeOf<Method<RequestStream<Order>, Order>>();
    expectTypeOf<Orders['watch']>().toEqualTypeOf<Method<{ from: string }, Order>>();
    expectTypeOf<Orders['version']>().toEqualTypeOf<string>();
    const get = (client: ResilientGrpcClient) => client.getService<PromiseOrders>('Orders').get({ id: '7' });
    expectTypeOf(get).returns.toEqualTypeOf<GrpcObservable<Order>>();
  });

  it('accepts handlers that return plain messages in a fake service whose generated methods return promises', () => {
    interface PromiseOrders {
      get(request: { id: string }): Promise<{ readonly item: string }>;
    }
    const fake = () => fakeGrpcService<PromiseOrders>({ get: ({ id }) => ({ item: id }) });
    const service = expectTypeOf(fake).returns;
    service.toHaveProperty('get').toEqualTypeOf<Method<{ id: string }, { readonly item: string }>>();
    service.toHaveProperty('calls').items.toHaveProperty('request').toEqualTypeOf<{ id: string }>();
  });
});
