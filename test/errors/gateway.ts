import 'reflect-metadata';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import {
  Controller,
  Get,
  InternalServerErrorException,
  Module,
  Param,
  Res,
  Sse,
  StreamableFile,
  type INestApplication,
  type Provider,
} from '@nestjs/common';
import { APP_FILTER, NestFactory, type AbstractHttpAdapter } from '@nestjs/core';
import {
  GrpcToHttpExceptionFilter,
  InjectGrpcService,
  ResilientGrpcModule,
  isGrpcCallError,
  toHttpException,
  type GrpcClientSettings,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { catchError, concat, firstValueFrom, map, throwError, type Observable } from 'rxjs';
import type { OrdersClient } from '../nest/orders-client.js';
import { ORDERS_PROTO } from '../nest/places.js';
import { CapturedLog } from '../support/captured-log.js';

/** Length, in characters, of a response body that takes several event-loop turns to send. */
export const BODY_LENGTH = 8 * 1_024 * 1_024;

@Controller()
class GatewayController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Get('observable/:id')
  observable(@Param('id') id: string): Observable<object> {
    return this.orders.create({ requestId: id, item: 'tea' });
  }

  @Get('promise/:id')
  async promise(@Param('id') id: string): Promise<object> {
    return firstValueFrom(this.orders.create({ requestId: id, item: 'tea' }));
  }

  @Get('iterated')
  async iterated(): Promise<object> {
    const sequences: string[] = [];
    for await (const { sequence } of this.orders.watch({ from: '0' })) sequences.push(sequence);
    return sequences;
  }

  @Get('resumed')
  resumed(): Observable<object> {
    return resumable((from: number) => this.orders.watch({ from: String(from) }), {
      cursor: ({ sequence }) => Number(sequence),
      seed: 0,
      onError: () => 'fail',
    });
  }

  @Get('exhausted')
  exhausted(): Observable<object> {
    return resumable((from: number) => this.orders.watch({ from: String(from) }), {
      cursor: ({ sequence }) => Number(sequence),
      seed: 0,
      onError: () => 'resume',
      backoff: { initialBackoffMs: 1, maxBackoffMs: 1 },
    });
  }

  @Get('wrapped/:id')
  async wrapped(@Param('id') id: string): Promise<object> {
    try {
      return await firstValueFrom(this.orders.create({ requestId: id, item: 'tea' }));
    } catch (cause) {
      throw new Error('could not load the order', { cause });
    }
  }

  /** Sends the status before the call fails. */
  @Get('begun/:id')
  async begun(
    @Param('id') id: string,
    @Res() response: ServerResponse & { readonly raw?: ServerResponse },
  ): Promise<void> {
    const node = response.raw ?? response;
    node.writeHead(200, { 'content-type': 'text/plain' });
    node.write('the first part, ');
    await firstValueFrom(this.orders.create({ requestId: id, item: 'tea' }));
    node.end('and the rest');
  }

  /** Ends the response before the call fails. Part of the body may still be unsent at that time. */
  @Get('sent/:id')
  async sent(
    @Param('id') id: string,
    @Res() response: ServerResponse & { readonly raw?: ServerResponse },
  ): Promise<void> {
    (response.raw ?? response).end('x'.repeat(BODY_LENGTH));
    await firstValueFrom(this.orders.create({ requestId: id, item: 'tea' }));
  }

  /** Streams a download. Has its own error handler, because with Express, filters do not receive errors from the stream. */
  @Get('download')
  download(): StreamableFile {
    const file = new StreamableFile(Readable.from(this.lines()));
    return file.setErrorHandler((error, response) => {
      file.errorLogger(error);
      if (response.headersSent) {
        response.destroy?.();
        return;
      }
      const answer = isGrpcCallError(error) ? toHttpException(error) : new InternalServerErrorException();
      response.statusCode = answer.getStatus();
      response.send(answer.message);
    });
  }

  /** Streams events. Maps errors itself, because Nest sends the headers before the first event, and filters do not receive later errors. */
  @Sse('events/:sent')
  events(@Param('sent') sent: string): Observable<object> {
    const before = Array.from({ length: Number(sent) }, () => ({ sequence: '0' }));
    return concat(before, this.orders.watch({ from: '0' })).pipe(
      map((data) => ({ data })),
      catchError((error: unknown) => throwError(() => (isGrpcCallError(error) ? toHttpException(error) : error))),
    );
  }

  private async *lines() {
    for await (const { sequence } of this.orders.watch({ from: '0' })) yield `${sequence}\n`;
  }
}

/** An HTTP application that serves responses from an upstream. */
export interface Gateway {
  readonly app: INestApplication;
  readonly log: CapturedLog;
  readonly url: string;
  /** Sends a GET request and returns the status, the JSON body, and the headers of the response. */
  get(path: string): Promise<{ readonly status: number; readonly body: unknown; readonly headers: Headers }>;
  close(): Promise<void>;
}

/** Options of a gateway. */
export interface GatewayParts {
  readonly upstream: string;
  readonly adapter?: () => AbstractHttpAdapter;
  readonly settings?: Partial<GrpcClientSettings>;
  /** @defaultValue the filter under test */
  readonly providers?: readonly Provider[];
  readonly prepare?: (app: INestApplication) => void;
}

const FILTER: Provider = { provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter };

export async function startGateway(parts: GatewayParts): Promise<Gateway> {
  const { upstream, adapter, settings = {}, providers = [FILTER], prepare } = parts;
  const client = { name: 'orders', protoPath: ORDERS_PROTO, url: upstream, loader: { longs: String }, ...settings };
  @Module({
    imports: [ResilientGrpcModule.forFeature([client])],
    controllers: [GatewayController],
    providers: [...providers],
  })
  class AppModule {}

  const log = new CapturedLog();
  const options = { logger: log, abortOnError: false };
  const app = await (adapter === undefined
    ? NestFactory.create(AppModule, options)
    : NestFactory.create(AppModule, adapter(), options));
  prepare?.(app);
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  return {
    app,
    log,
    url,
    async get(path) {
      const answer = await fetch(`${url}/${path}`);
      return { status: answer.status, body: await answer.json(), headers: answer.headers };
    },
    close: () => app.close(),
  };
}
