// A server whose handler uses 5 ms of CPU, in a separate process:
//   node dist/overloaded-server/main.js --port 50051 --server plain|tuned|resilient
// The id of a request is the deadline of its call in milliseconds since 1970. The process exits if its parent exits.
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { Controller, Module, type DynamicModule, type NestInterceptor, type Provider } from '@nestjs/common';
import { APP_INTERCEPTOR, NestFactory } from '@nestjs/core';
import { GrpcMethod, RpcException, Transport } from '@nestjs/microservices';
import { status } from '@grpc/grpc-js';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { timeout, throwError } from 'rxjs';
import type { GetOrderRequest } from '../gen/orders.pb.js';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import { DEADLINE_MS, type OverloadedServerNotice, WORK_MS } from '../chaos/overloaded-server-process.js';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '50051' }, server: { type: 'string', default: 'resilient' } },
});
const options = { ...ORDERS_CONTRACT, url: `127.0.0.1:${values.port}` };
let ranExpired = 0;

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  get({ id }: GetOrderRequest): { readonly id: string } {
    if (Date.now() >= Number(id)) ranExpired += 1;
    for (const until = performance.now() + WORK_MS; performance.now() < until;);
    return { id };
  }
}

/** A timeout that Nest applications typically use for slow handlers. It starts when the handler starts. */
const timeoutInterceptor: NestInterceptor = {
  intercept: (_context, next) =>
    next.handle().pipe(
      timeout({
        each: DEADLINE_MS,
        with: () => throwError(() => new RpcException({ code: status.DEADLINE_EXCEEDED, message: 'timed out' })),
      }),
    ),
};

@Module({ controllers: [OrdersController] })
class OverloadedModule {
  static serve(server: string): DynamicModule {
    const interceptor: Provider = { provide: APP_INTERCEPTOR, useValue: timeoutInterceptor };
    return {
      module: OverloadedModule,
      imports: server === 'resilient' ? [ResilientGrpcServerModule.forRoot(options)] : [],
      providers: server === 'tuned' ? [interceptor] : [],
    };
  }
}

const RESILIENT_STRATEGY = {
  inject: [ResilientGrpcServer],
  useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
};

function notify(notice: OverloadedServerNotice): void {
  process.send?.(notice);
}

process.on('message', () => {
  notify({ type: 'counts', ranExpired });
  ranExpired = 0;
});
process.once('disconnect', () => process.exit(0));
if (process.send) process.on('SIGINT', () => undefined);

const app = await NestFactory.createMicroservice<object>(OverloadedModule.serve(values.server), {
  ...(values.server === 'resilient' ? RESILIENT_STRATEGY : { transport: Transport.GRPC, options }),
  logger: false,
});
await app.listen();
notify({ type: 'listening' });
