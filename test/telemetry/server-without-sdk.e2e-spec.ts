import {
  status,
  type Server,
  type ServerInterceptingCall,
  type ServerInterceptor,
  type ServiceError,
} from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { context, trace } from '@opentelemetry/api';
import { ResilientGrpcServer } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { of } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { serveInstrumented } from './collected-telemetry.js';
import { ordersOf, serveOrders, startServers } from '../server/served-orders.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

let active: unknown;

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  get({ id }: { id: string }): object {
    active = trace.getSpan(context.active());
    return { id };
  }
  @GrpcMethod('Orders', 'Watch')
  watch(): unknown {
    return of({ sequence: '1' });
  }
}

const grpcServerOf = (server: ResilientGrpcServer): Server => Reflect.get(server, 'grpcClient') as Server;
const everyCallWanted = (server: ResilientGrpcServer): boolean =>
  (Reflect.get(server, 'events') as { everyCallWanted: boolean }).everyCallWanted;

describe('server telemetry without a registered SDK', () => {
  it('serves calls without spans and without per-call events if no SDK is registered', async () => {
    const { client, server } = await serveInstrumented(OrdersController);
    const order = await new Promise((resolve, reject) =>
      (client as any).get({ id: '7' }, (error: ServiceError | null, value: unknown) => {
        if (error === null) resolve(value);
        else reject(error);
      }),
    );
    expect(order).toMatchObject({ id: '7' });
    expect(active).toBeUndefined();
    const seen: unknown[] = [];
    for await (const message of (client as any).watch({ from: '0' })) seen.push(message);
    expect(seen).toHaveLength(1);
    expect(everyCallWanted(server)).toBe(false);
    const failed = await new Promise<ServiceError>((resolve) => (client as any).create({}, resolve));
    expect(failed.code).toBe(status.UNIMPLEMENTED);
  });
});

describe('server without the telemetry module', () => {
  it('adds no measurements and no interceptor to a server if the telemetry module is not imported', async () => {
    const { server, url } = await startServers(await serveOrders());
    expect(grpcServerOf(server).constructor.name).toBe('ReportingServer');
    const wire: object[] = [];
    const interceptors = Reflect.get(grpcServerOf(server), 'interceptors') as ServerInterceptor[];
    interceptors.push((_method, call) => {
      wire.push(call);
      return call as ServerInterceptingCall;
    });
    await new Promise((resolve) => (ordersOf(url).client as any).get({ id: '7' }, resolve));
    expect(wire.map((call) => call.constructor.name)).toEqual(['BaseServerInterceptingCall']);
    expect(everyCallWanted(server)).toBe(false);
  });
});
