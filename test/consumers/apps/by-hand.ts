/** Code written for Nest's own client with handwritten interfaces: `getService()`, Metadata, and Observables of requests. */
import 'reflect-metadata';
import { Metadata } from '@grpc/grpc-js';
import { Inject, Injectable, Module, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { ClientGrpc } from '@nestjs/microservices';
import { ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';
import { firstValueFrom, from, lastValueFrom, toArray, type Observable } from 'rxjs';

interface Line {
  requestId: string;
  item: string;
}

interface OrdersService {
  get(request: { id: string }, metadata?: Metadata): Observable<{ item: string; requestId: string }>;
  create(request: Line): Observable<Line & { id: string }>;
  session(requests: Observable<{ messageId: number }>): Observable<{ messageId: string }>;
  upload(requests: Observable<Line>): Observable<{ count: number }>;
}

@Injectable()
class Shop implements OnModuleInit {
  private orders!: OrdersService;

  constructor(@Inject(getGrpcClientToken('orders')) private readonly client: ClientGrpc) {}

  onModuleInit(): void {
    this.orders = this.client.getService<OrdersService>('Orders');
  }

  async callEachMethod(): Promise<unknown> {
    const metadata = new Metadata();
    metadata.set('x-request-id', 'r-7');
    const line = { requestId: 'r-9', item: 'coffee' };
    return {
      unary: await firstValueFrom(this.orders.get({ id: '7' }, metadata)),
      created: await firstValueFrom(this.orders.create(line)),
      replies: await lastValueFrom(this.orders.session(from([{ messageId: 1 }, { messageId: 2 }])).pipe(toArray())),
      uploaded: await firstValueFrom(this.orders.upload(from([line, line, line]))),
    };
  }
}

@Injectable()
class Configuration {
  readonly url = process.env['ORDERS_URL'] ?? 'orders:50051';
}

@Module({ providers: [Configuration], exports: [Configuration] })
class ConfigurationModule {}

@Module({
  imports: [
    ResilientGrpcModule.forFeatureAsync([
      {
        name: 'orders',
        package: 'orders.v1',
        protoPath: 'protos/orders.proto',
        loader: { longs: String, defaults: false },
        imports: [ConfigurationModule],
        inject: [Configuration],
        useFactory: ({ url }: Configuration) => ({ url }),
      },
    ]),
  ],
  providers: [Shop],
})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'fatal'] });
  const output = await app.get(Shop).callEachMethod();
  await app.close();
  console.log(JSON.stringify(output));
}

void main();
