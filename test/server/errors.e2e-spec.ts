import 'reflect-metadata';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import {
  Body,
  Controller,
  Get,
  Module,
  NotFoundException,
  Param,
  Post,
  ValidationPipe,
  type INestApplication,
  type Provider,
} from '@nestjs/common';
import { APP_FILTER, APP_PIPE, HttpAdapterHost, NestFactory } from '@nestjs/core';
import {
  GrpcExceptionFilter,
  GrpcMethod,
  GrpcStreamCall,
  GrpcStreamMethod,
  RpcException,
  Transport,
  type GrpcOptions,
} from '@nestjs/microservices';
import { IsNotEmpty, Max, Min } from 'class-validator';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { GrpcException, GrpcServerExceptionFilter, validationException } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { NEVER, concat, firstValueFrom, ignoreElements, of, throwError, type Observable } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { failureOf } from '../calls/support.js';
import { closedAfterTest } from '../support/closed-after-test.js';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { KindsController } from './parity/handlers.js';
import { SERVERS, startServer } from './parity/servers.js';
import { ordersOptions, ownUrl } from './served-orders.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const DETAIL = {
  typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo',
  value: { reason: 'NO_ORDER', domain: 'shop', metadata: { id: '7' } },
};
const noOrder = () =>
  new GrpcException('NOT_FOUND', 'no order №7', {
    statusDetails: [DETAIL],
    metadata: { 'x-shard': 'a' },
    retryAfterMs: 1_500,
  });

class CreateOrderDto {
  @IsNotEmpty()
  requestId!: string;

  item!: string;

  @Min(1)
  @Max(100, { message: 'We have no more than 100' })
  quantity!: number;
}

@Controller('orders')
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  getOrder({ id }: { id: string }): Observable<object> | Promise<object> {
    switch (id) {
      case 'rejected':
        return Promise.reject(noOrder());
      case 'failed':
        return throwError(noOrder);
      case 'http':
        return this.find(id);
      default:
        throw noOrder();
    }
  }

  @GrpcMethod('Orders', 'Create')
  createOrder({ requestId, item, quantity }: CreateOrderDto): object {
    return { requestId, item, quantity, sequence: '1' };
  }

  @GrpcMethod('Orders', 'Watch')
  watch(): Observable<object> {
    return concat(of({ sequence: '1' }), throwError(noOrder));
  }

  @GrpcStreamMethod('Orders', 'Upload')
  upload(orders: Observable<object>): Observable<object> {
    return concat(orders.pipe(ignoreElements()), throwError(noOrder));
  }

  @GrpcStreamCall('Orders', 'Session')
  session(call: ServerDuplexStream<object, object>): void {
    call.emit('error', noOrder());
  }

  @Get(':id')
  async find(@Param('id') id: string): Promise<object> {
    throw new NotFoundException(`no order ${id}`);
  }

  @Post()
  create(@Body() order: CreateOrderDto): object {
    return order;
  }
}

interface Served {
  readonly orders: OrdersApp['orders'];
  /** Sends an HTTP request and resolves to the status and body of the response. */
  fetchJson(path: string, init?: RequestInit): Promise<readonly [status: number, body: unknown]>;
}

/** Starts a hybrid application and a client of this library for it. */
async function serve(providers: Provider[] = [], prepare: (app: INestApplication) => void = () => {}): Promise<Served> {
  @Module({ controllers: [OrdersController], providers })
  class AppModule {}

  const options = ordersOptions(ownUrl());
  const app = await NestFactory.create(AppModule, { logger: false, abortOnError: false });
  onTestFinished(() => app.close());
  prepare(app);
  app.connectMicroservice<GrpcOptions>({ transport: Transport.GRPC, options }, { inheritAppConfig: true });
  await app.startAllMicroservices();
  await app.listen(0, '127.0.0.1');
  const client = await closedAfterTest(startOrdersApp({ url: options.url! }));
  const http = await app.getUrl();
  return {
    orders: client.orders,
    async fetchJson(path, init) {
      const answer = await fetch(`${http}${path}`, init);
      return [answer.status, await answer.json()];
    },
  };
}

const filter = { provide: APP_FILTER, useClass: GrpcServerExceptionFilter };
const pipe = (options?: ConstructorParameters<typeof ValidationPipe>[0]): Provider => ({
  provide: APP_PIPE,
  useFactory: () => new ValidationPipe(options),
});
// Nest 12 and later have a filter for gRPC.
const NEST_FILTER: [filter: string, providers: Provider[]][] =
  (GrpcExceptionFilter as unknown) === undefined
    ? []
    : [["Nest's filter for gRPC", [{ provide: APP_FILTER, useClass: GrpcExceptionFilter }]]];
const wrong = { requestId: '', item: 'tea', quantity: 0 };
const post = (order: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(order),
});

describe.each<[filter: string, providers: Provider[]]>([
  ["Nest's filter for every transport", []],
  ...NEST_FILTER,
  ['GrpcServerExceptionFilter', [filter]],
])('GrpcException through %s', (_, providers) => {
  it('delivers the code, message, trailers, and details of a GrpcException for every kind of method', async () => {
    const { orders } = await serve(providers);
    for (const [what, call] of Object.entries({
      thrown: orders.get({ id: 'thrown' }),
      rejected: orders.get({ id: 'rejected' }),
      failed: orders.get({ id: 'failed' }),
      stream: orders.watch({ from: '0' }),
      upload: orders.upload(of({ requestId: '1', item: 'tea', quantity: 1 })),
      'on the call itself': orders.session(NEVER),
    })) {
      const failure = await failureOf(call);
      expect(failure, what).toMatchObject({ codeName: 'NOT_FOUND', details: 'no order №7', retryAfterMs: 1_500 });
      expect(failure.message).toBe('5 NOT_FOUND: no order №7');
      expect(failure.metadata.get('x-shard'), what).toEqual(['a']);
      expect(failure.statusDetails, what).toEqual([
        DETAIL,
        { typeUrl: 'type.googleapis.com/google.rpc.RetryInfo', value: { retryDelayMs: 1_500 } },
      ]);
    }
  });
});

describe('GrpcServerExceptionFilter', () => {
  it('converts an HttpException to a gRPC status if GrpcServerExceptionFilter is provided', async () => {
    const { orders } = await serve([filter]);
    expect(await failureOf(orders.get({ id: 'http' }))).toMatchObject({
      codeName: 'NOT_FOUND',
      details: 'no order http',
      statusDetails: [],
    });
  });

  it("lists in the status the violations that Nest's ValidationPipe reports", async () => {
    const { orders } = await serve([filter, pipe()]);
    const failure = await failureOf(orders.create(wrong));
    expect(failure).toMatchObject({
      codeName: 'INVALID_ARGUMENT',
      details: 'requestId should not be empty; quantity must not be less than 1',
    });
    expect(violationsOf(failure)).toEqual([
      ['', 'requestId should not be empty'],
      ['', 'quantity must not be less than 1'],
    ]);
  });

  it('names the field of each violation in the status details if the ValidationPipe uses `validationException`', async () => {
    const { orders } = await serve([filter, pipe({ exceptionFactory: validationException })]);
    expect(violationsOf(await failureOf(orders.create(wrong)))).toEqual([
      ['requestId', 'requestId should not be empty'],
      ['quantity', 'quantity must not be less than 1'],
    ]);
    expect(violationsOf(await failureOf(orders.create({ ...wrong, quantity: 101 })))).toContainEqual([
      'quantity',
      'We have no more than 100',
    ]);
    expect(await firstValueFrom(orders.create({ requestId: '1', item: 'tea', quantity: 1 }))).toMatchObject({
      sequence: '1',
    });
  });
});

describe.each(SERVERS)('a guard that returns false in front of %s', (serverKind) => {
  const METHODS = ['Unary', 'Watch', 'Collect', 'Chat'];

  /** Returns the statuses of all methods of a server. */
  async function statusesOf(configure: (app: INestApplication) => void): Promise<readonly string[]> {
    const server = await startServer({
      serverKind,
      controllers: [KindsController],
      inheritAppConfig: true,
      // Safe: it is hybrid.
      configure: (app) => configure(app as INestApplication),
    });
    onTestFinished(() => server.close());
    const answers = await Promise.all(METHODS.map((method) => server.client.call(`parity.v1.Kinds/${method}`)));
    return answers.map(({ status }) => `${String(status.code)} ${status.details}`);
  }

  const guard = { canActivate: () => false };

  it('answers PERMISSION_DENIED with GrpcServerExceptionFilter', async () => {
    const statuses = await statusesOf((app) => {
      app.useGlobalGuards(guard);
      app.useGlobalFilters(new GrpcServerExceptionFilter());
    });
    expect(statuses).toEqual(METHODS.map(() => '7 Forbidden resource'));
  });

  it("answers UNKNOWN without it, as Nest's filter does", async () => {
    expect(await statusesOf((app) => app.useGlobalGuards(guard))).toEqual(METHODS.map(() => '2 Forbidden resource'));
  });

  it('is the only source of an RpcException that GrpcServerExceptionFilter handles in another way', async () => {
    const text = 'Forbidden';
    for (const error of [text, { code: 9, message: text }, { code: 3, message: 'Forbidden resource', details: text }]) {
      const throws = {
        canActivate: () => {
          throw new RpcException(error);
        },
      };
      const plain = await statusesOf((app) => app.useGlobalGuards(throws));
      const ours = await statusesOf((app) => {
        app.useGlobalGuards(throws);
        app.useGlobalFilters(new GrpcServerExceptionFilter());
      });
      expect(ours).toEqual(plain);
      expect(new Set(plain).size).toBe(1);
    }
  });
});

describe('HTTP of a hybrid application', () => {
  const requests: readonly (readonly [path: string, init?: RequestInit])[] = [
    ['/orders/7'],
    ['/nothing'],
    ['/orders', post(wrong)],
    ['/orders', post({ requestId: '1', quantity: 1 })],
  ];
  const answers = async ({ fetchJson }: Served) => Promise.all(requests.map(([path, init]) => fetchJson(path, init)));

  it.each<[how: string, providers: Provider[], prepare: (app: INestApplication) => void]>([
    ['provided by the container', [filter], () => {}],
    ['created with new', [], (app) => app.useGlobalFilters(new GrpcServerExceptionFilter(app.get(HttpAdapterHost)))],
  ])(
    "responds to HTTP requests as Nest's own filter does if GrpcServerExceptionFilter is %s",
    async (_, providers, prepare) => {
      const plain = await answers(await serve([pipe()]));
      expect(plain.map(([status]) => status)).toEqual([404, 404, 400, 201]);
      expect(plain[0]![1]).toEqual({ statusCode: 404, error: 'Not Found', message: 'no order 7' });
      const ours = await serve([...providers, pipe({ exceptionFactory: validationException })], prepare);
      expect(await answers(ours)).toEqual(plain);
    },
  );
});

/** Returns the field violations of the BadRequest in the status details; expects no other detail. */
function violationsOf({ statusDetails }: GrpcCallError): (readonly [field: string, description: string])[] {
  expect(statusDetails.map(({ typeUrl }) => typeUrl)).toEqual(['type.googleapis.com/google.rpc.BadRequest']);
  const { fieldViolations } = statusDetails[0]!.value as {
    fieldViolations: { field: string; description: string }[];
  };
  return fieldViolations.map(({ field, description }) => [field, description]);
}
