import 'reflect-metadata';
import { once, type EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { Catch, Module, UseFilters, type ArgumentsHost } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { WsAdapter } from '@nestjs/platform-ws';
import { BaseWsExceptionFilter, MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import {
  GrpcCallError,
  GrpcToHttpExceptionFilter,
  GrpcToRpcExceptionFilter,
  InjectGrpcService,
  ResilientGrpcModule,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, map, type Observable } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ORDERS_PROTO } from '../nest/places.js';
import type { OrdersClient } from '../nest/orders-client.js';
import { CapturedLog } from '../support/captured-log.js';

interface Socket extends EventEmitter {
  send(text: string): void;
  close(): void;
}
// Node 20 has no WebSocket client by default, so the tests use the `ws` package that Nest's adapter depends on.
const { WebSocket } = createRequire(import.meta.resolve('@nestjs/platform-ws'))('ws') as {
  readonly WebSocket: new (url: string) => Socket;
};

@Catch(GrpcCallError)
class OwnFilter extends BaseWsExceptionFilter {
  override catch(exception: GrpcCallError, host: ArgumentsHost): void {
    const client = host.switchToWs().getClient<Socket>();
    client.send(JSON.stringify({ event: 'own', data: exception.codeName }));
  }
}

type Filter = typeof GrpcToHttpExceptionFilter | typeof GrpcToRpcExceptionFilter;

/** Creates a gateway with `filters`. Nest does not apply global filters to gateways. */
function gatewayWith(filters: readonly Filter[]) {
  @UseFilters(...filters)
  @WebSocketGateway()
  class OrdersGateway {
    constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

    @SubscribeMessage('observable')
    observable(@MessageBody() id: string): Observable<object> {
      return this.orders.create({ requestId: id, item: 'tea' }).pipe(map((data) => ({ event: 'order', data })));
    }

    @SubscribeMessage('promise')
    async promise(@MessageBody() id: string): Promise<object> {
      return { event: 'order', data: await firstValueFrom(this.orders.create({ requestId: id, item: 'tea' })) };
    }

    @UseFilters(OwnFilter)
    @SubscribeMessage('own')
    async own(@MessageBody() id: string): Promise<object> {
      return this.promise(id);
    }
  }

  return OrdersGateway;
}

const leaks = captureLeaks();
let server: ScriptedGrpcServer;
beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
});
afterAll(async () => {
  await server.close();
  await leaks.settled();
});

/** Sends three messages whose calls fail and one whose call succeeds. Returns the responses and the logged errors. */
async function collectAnswers(filters: readonly Filter[]) {
  @Module({
    imports: [ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url: server.url }])],
    providers: [gatewayWith(filters)],
  })
  class AppModule {}

  const log = new CapturedLog();
  const app = await NestFactory.create(AppModule, { logger: log, abortOnError: false });
  app.useWebSocketAdapter(new WsAdapter(app));
  await app.listen(0, '127.0.0.1');
  const socket = new WebSocket((await app.getUrl()).replace('http', 'ws'));
  await once(socket, 'open');
  const send = async (event: string) => {
    const answered = once(socket, 'message');
    socket.send(JSON.stringify({ event, data: '7' }));
    const [data] = (await answered) as [Buffer];
    return JSON.parse(String(data)) as unknown;
  };
  server.script('Create', { status: 'NOT_FOUND', details: 'no order of hush' });
  const failed = [await send('promise'), await send('observable'), await send('own')];
  server.script('Create', { message: { id: '7' } });
  const after = await send('promise');
  socket.close();
  await once(socket, 'close');
  await app.close();
  const errors = log.lines.filter(({ level }) => level === 'error').map(({ context, text }) => `${context} ${text}`);
  return { failed, after, errors };
}

describe('failed call in a WebSocket gateway', () => {
  it.each([
    ['GrpcToHttpExceptionFilter', GrpcToHttpExceptionFilter],
    ['GrpcToRpcExceptionFilter', GrpcToRpcExceptionFilter],
  ])(
    'lets Nest, or a filter of the method, handle the error of a failed call in a WebSocket gateway, with and without %s',
    async (_name, filter) => {
      const without = await collectAnswers([]);
      expect(without.failed[0]).toMatchObject({ event: 'exception', data: { message: 'Internal server error' } });
      expect(without.failed[2]).toEqual({ event: 'own', data: 'NOT_FOUND' });
      expect(without.after).toMatchObject({ event: 'order', data: { id: '7' } });
      expect(without.errors).toEqual([
        expect.stringContaining('WsExceptionsHandler GrpcCallError: 5 NOT_FOUND'),
        expect.stringContaining('WsExceptionsHandler GrpcCallError: 5 NOT_FOUND'),
      ]);
      expect(await collectAnswers([filter])).toEqual(without);
    },
  );
});
