import { InterceptingCall } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamMethod } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import {
  ResilientGrpcModule,
  getGrpcClientToken,
  type GrpcCallError,
  type GrpcClientEvent,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstValueFrom, from, lastValueFrom, map, of, toArray, type Observable } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ownUrl } from '../server/served-orders.js';
import { CapturedLog } from '../support/captured-log.js';
import { ORDERS_PROTO } from './places.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled({ timeoutMs: 20_000 }));
});

/** Client of `orders.v1.Orders` that sends any message. */
interface AnyOrders {
  create(request: object, options?: object): Observable<object>;
  watch(request: object): Observable<object>;
  session(requests: Observable<object>): Observable<object>;
  upload(requests: Observable<object>): Observable<object>;
}

type MethodName = keyof AnyOrders;
const METHODS: readonly MethodName[] = ['create', 'watch', 'session', 'upload'];

const PLAIN = loadSync(ORDERS_PROTO, { longs: Number })['orders.v1.Orders'] as ServiceDefinition;

function definitionOf(name: MethodName) {
  return Object.values(PLAIN).find(({ originalName }) => originalName === name)!;
}

/** Returns a message as the server would receive it without this library. */
function arrivedRequest(name: MethodName, message: object): object {
  const { requestSerialize, requestDeserialize } = definitionOf(name);
  return requestDeserialize(requestSerialize(message));
}

/** Returns a message as the client would receive it without this library. */
function arrivedResponse(name: MethodName, message: object): object {
  const { responseSerialize, responseDeserialize } = definitionOf(name);
  return responseDeserialize(responseSerialize(message));
}

/** Responses of the handlers. */
let responses: Record<MethodName, object>;
let received: unknown[];
beforeEach(() => {
  responses = { create: {}, watch: {}, session: {}, upload: {} };
  received = [];
});

function respond(method: MethodName, request: unknown): object {
  received.push(request);
  return responses[method];
}

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Create') create(request: unknown) {
    return respond('create', request);
  }

  @GrpcMethod('Orders', 'Watch') watch(request: unknown) {
    return of(respond('watch', request));
  }

  @GrpcStreamMethod('Orders', 'Session') session(requests: Observable<unknown>) {
    return requests.pipe(map((request) => respond('session', request)));
  }

  @GrpcStreamMethod('Orders', 'Upload') async upload(requests: Observable<unknown>) {
    return respond('upload', await lastValueFrom(requests));
  }
}

type Contract = { protoPath: string; loader?: object } | { packageDefinition: PackageDefinition };

function inProduction() {
  vi.stubEnv('NODE_ENV', 'production');
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
}

/** Returns the error of a call that fails. */
async function rejection(call: Observable<object>): Promise<GrpcCallError> {
  const error: unknown = await lastValueFrom(call).catch((cause: unknown) => cause);
  // The assertions of the caller check it.
  return error as GrpcCallError;
}

async function start(
  contract: Contract = { protoPath: ORDERS_PROTO, loader: { longs: Number } },
  settings: { rejectInvalidMessages?: boolean } = {},
) {
  const url = ownUrl();
  const log = new CapturedLog();
  const module = await Test.createTestingModule({
    imports: [
      ResilientGrpcModule.forFeature([{ name: 'orders', url, ...contract, ...settings }]),
      ResilientGrpcServerModule.forRoot({ url, package: 'orders.v1', ...contract }),
    ],
    controllers: [OrdersController],
  })
    .setLogger(log)
    .compile();
  const app = module.createNestApplication();
  const server = app.get(ResilientGrpcServer);
  app.connectMicroservice({ strategy: server }, { inheritAppConfig: true });
  await app.startAllMicroservices();
  await app.init();
  onTestFinished(() => app.close());
  const client = app.get<ResilientGrpcClient>(getGrpcClientToken('orders'));
  const orders = client.getService<AnyOrders>('Orders');
  const warnings = (context: string) =>
    log.lines
      .filter((line) => line.level === 'warn' && line.context === context && line.text.startsWith('/orders.v1.'))
      .map(({ text }) => text);
  /** Calls each method once with its request, and returns the responses. */
  const callAll = async (requests: Partial<Record<MethodName, object>>) => {
    const answers: object[] = [];
    for (const method of METHODS) {
      const request = requests[method] ?? {};
      const isStream = method === 'session' || method === 'upload';
      const call = isStream ? orders[method](from([request, request])) : orders[method](request);
      answers.push(...(await lastValueFrom(call.pipe(toArray()))));
    }
    return answers;
  };
  return {
    client,
    server,
    orders,
    callAll,
    clientWarnings: () => warnings('ResilientGrpc:orders'),
    serverWarnings: () => warnings('ResilientGrpcServer'),
  };
}

const KEEP_CASE = ' To use the names of the .proto file, set loader: { keepCase: true }';

/** Returns the warning about a misspelled `field` of `type`. The warning about a snake-case field contains one more remedy. */
const misspelled = (method: string, message: 'request' | 'response', field: string, type: string, meant: string) =>
  `/orders.v1.Orders/${method}: the ${message} contains '${field}', but ${type} has no such field, so the value is not sent; did you mean '${meant}'?${field.includes('_') ? KEEP_CASE : ''}`;

describe('unsent fields', () => {
  it('logs misspelled fields of requests once per method and field, for each kind of method, and sends the same message as without the check', async () => {
    const { callAll, clientWarnings, serverWarnings } = await start();
    const requests = {
      create: { request_id: 'r', item: 'tea', quantitty: 3 },
      watch: { FROM: 7 },
      session: { message_id: 5, Order: { item: 'tea' } },
      upload: { request_id: 'u' },
    };
    await callAll(requests);
    await callAll(requests);
    expect(clientWarnings()).toEqual([
      misspelled('Create', 'request', 'request_id', 'CreateOrderRequest', 'requestId'),
      misspelled('Create', 'request', 'quantitty', 'CreateOrderRequest', 'quantity'),
      misspelled('Watch', 'request', 'FROM', 'WatchRequest', 'from'),
      misspelled('Session', 'request', 'message_id', 'SessionRequest', 'messageId'),
      misspelled('Session', 'request', 'Order', 'SessionRequest', 'order'),
      misspelled('Upload', 'request', 'request_id', 'CreateOrderRequest', 'requestId'),
    ]);
    expect(serverWarnings()).toEqual([]);
    // The handler of Session records both messages of each call; the handler of Upload records only the last message.
    const arrived = (['create', 'watch', 'session', 'session', 'upload'] as const).map((name) =>
      arrivedRequest(name, requests[name]),
    );
    expect(received).toEqual([...arrived, ...arrived]);
  });

  it('logs misspelled fields of responses once per method and field, for each kind of method, and sends the same message as without the check', async () => {
    const { callAll, clientWarnings, serverWarnings } = await start();
    responses = {
      create: { id: '1', request_id: 'r', quanttiy: 3 },
      watch: { sequence: 4, ORDER: { id: '1' } },
      session: { message_id: 5, sequence: 6 },
      upload: { count: 2, last_sequence: 7 },
    };
    const answers = await callAll({});
    expect(await callAll({})).toEqual(answers);
    expect(serverWarnings()).toEqual([
      misspelled('Create', 'response', 'request_id', 'Order', 'requestId'),
      misspelled('Create', 'response', 'quanttiy', 'Order', 'quantity'),
      misspelled('Watch', 'response', 'ORDER', 'OrderEvent', 'order'),
      misspelled('Session', 'response', 'message_id', 'SessionReply', 'messageId'),
      misspelled('Upload', 'response', 'last_sequence', 'UploadReply', 'lastSequence'),
    ]);
    expect(clientWarnings()).toEqual([]);
    const arrived = (['create', 'watch', 'session', 'session', 'upload'] as const).map((name) =>
      arrivedResponse(name, responses[name]),
    );
    expect(answers).toEqual(arrived);
  });

  it('logs wrong values of number and string fields on the client and the server, with the value that is sent instead', async () => {
    const { orders, clientWarnings, serverWarnings } = await start();
    responses.create = { id: { value: '1' }, quantity: 'few' };
    const answer = await firstValueFrom(orders.create({ item: { name: 'tea' }, quantity: 'many' }));
    expect(clientWarnings()).toEqual([
      '/orders.v1.Orders/Create: field \'item\' of the request (CreateOrderRequest): expected a string, got an object; the serializer sends "[object Object]" instead',
      "/orders.v1.Orders/Create: field 'quantity' of the request (CreateOrderRequest): expected a number, got a string of length 4; the serializer sends 0 instead",
    ]);
    expect(serverWarnings()).toEqual([
      '/orders.v1.Orders/Create: field \'id\' of the response (Order): expected a string, got an object; the serializer sends "[object Object]" instead',
      "/orders.v1.Orders/Create: field 'quantity' of the response (Order): expected a number, got a string of length 3; the serializer sends 0 instead",
    ]);
    expect(received).toEqual([{ item: '[object Object]', quantity: 0 }]);
    expect(answer).toMatchObject({ id: '[object Object]', quantity: 0 });
  });

  it.each(['production', 'development'])(
    'converts values of well-known types and bigints in the requests and responses of each kind of method (%s)',
    async (environment) => {
      vi.stubEnv('NODE_ENV', environment);
      onTestFinished(() => {
        vi.unstubAllEnvs();
      });
      const folder = mkdtempSync(join(tmpdir(), 'converted-'));
      onTestFinished(() => {
        rmSync(folder, { recursive: true });
      });
      const protoPath = join(folder, 'orders.proto');
      const fields =
        ' google.protobuf.Timestamp at = 20; google.protobuf.Struct data = 21; google.protobuf.Int64Value size = 22;';
      const proto = readFileSync(ORDERS_PROTO, 'utf8')
        .replace(
          'package orders.v1;',
          ['timestamp', 'struct', 'wrappers'].reduce(
            (text, name) => `${text} import "google/protobuf/${name}.proto";`,
            'package orders.v1;',
          ),
        )
        .replace(/message \w+ \{/g, `$&${fields}`);
      writeFileSync(protoPath, proto);
      const { callAll, client, clientWarnings, serverWarnings } = await start({ protoPath, loader: { longs: String } });
      const message = { at: new Date(1_500), data: { tea: [1, null] }, size: 2n ** 60n };
      const sent = {
        at: { seconds: '1', nanos: 500_000_000 },
        data: {
          fields: {
            tea: { listValue: { values: [{ numberValue: 1 }, { nullValue: 0 }] } },
          },
        },
        size: { value: String(2n ** 60n) },
      };
      responses = { create: message, watch: message, session: message, upload: message };
      const answers = await callAll({ create: message, watch: message, session: message, upload: message });
      expect(answers).toHaveLength(5);
      for (const one of [...answers, ...received]) expect(one).toMatchObject(sent);
      const plain = client.getClientByServiceName<{
        create(request: object, done: (error: unknown, answer: unknown) => void): void;
      }>('Orders');
      const answer = await new Promise((resolve) => {
        plain.create(message, (_, one) => {
          resolve(one);
        });
      });
      for (const one of [answer, received.at(-1)]) expect(one).toMatchObject(sent);
      expect(message).toEqual({ at: new Date(1_500), data: { tea: [1, null] }, size: 2n ** 60n });
      expect([...clientWarnings(), ...serverWarnings()]).toEqual([]);
    },
  );

  it('with rejectInvalidMessages, fails each call whose request contains a wrong value or a misspelled field with INVALID_ARGUMENT before anything is sent', async () => {
    inProduction();
    const { orders, client, clientWarnings } = await start(undefined, { rejectInvalidMessages: true });
    const invalid = { requestId: 'r', quantity: 'many' };
    const text = "field 'quantity' of CreateOrderRequest: expected a number, got a string of length 4";
    const passing = {
      interceptors: [
        (options: object, next: (options: object) => InterceptingCall) => new InterceptingCall(next(options)),
      ],
    };
    for (const [call, isUnary] of [
      [orders.create(invalid), true],
      [orders.create(invalid, passing), true],
      [orders.upload(of(invalid)), false],
      [orders.session(of({ order: invalid })), false],
    ] as const) {
      const error = await rejection(call);
      // A stream may have started before its first message.
      expect(error).toMatchObject({ code: 3, reason: 'not-sent', ...(isUnary ? { reachedServer: 'no' } : {}) });
      expect(error.details).toMatch(
        /field '(order\.)?quantity' of CreateOrderRequest: expected a number, got a string of length 4$/,
      );
    }
    const misspelt = await rejection(orders.watch({ FROM: 7 }));
    expect(misspelt.details).toContain("field 'FROM' of WatchRequest: unknown field; did you mean 'from'?");
    const plain = client.getClientByServiceName<{ create(request: object, done: (error: unknown) => void): void }>(
      'Orders',
    );
    const error = await new Promise((resolve) => {
      plain.create(invalid, resolve);
    });
    // grpc-js's own client reports every message that cannot be serialized with INTERNAL.
    expect(error).toMatchObject({ code: 13, details: expect.stringContaining(text) as string });
    expect(received).toEqual([]);
    expect(clientWarnings()).toEqual([]);
    await firstValueFrom(orders.create({ requestId: 'r', quantity: '3' }));
    expect(received).toMatchObject([{ requestId: 'r', quantity: 3 }]);
  });

  it('emits unsent-field events from the client and the server, including for calls of a callback client', async () => {
    const { client, server, clientWarnings } = await start();
    const events: unknown[] = [];
    const isUnsent = ({ type }: { type: string }) => type === 'unsent-field';
    const subscriptions = [
      client.events$.subscribe((event: GrpcClientEvent) => isUnsent(event) && events.push(event)),
      server.events$.subscribe((event) => isUnsent(event) && events.push(event)),
    ];
    onTestFinished(() => {
      for (const subscription of subscriptions) subscription.unsubscribe();
    });
    responses.create = { quantity: 'few' };
    const plain = client.getClientByServiceName<{ create(request: object, done: () => void): void }>('Orders');
    await new Promise<void>((resolve) => {
      plain.create({ request_id: 'r' }, resolve);
    });
    await waitFor(() => events.length === 2, { timeoutMs: 20_000 });
    const common = { type: 'unsent-field', path: '/orders.v1.Orders/Create', at: expect.any(Number) as number };
    expect(events).toEqual([
      { ...common, client: 'orders', messageType: 'CreateOrderRequest', field: 'request_id', suggestion: 'requestId' },
      {
        ...common,
        messageType: 'Order',
        field: 'quantity',
        problem: 'expected a number, got a string of length 3',
        sent: '0',
      },
    ]);
    expect(clientWarnings()).toHaveLength(1);
  });

  it('does not change a contract with its own serializers, such as the output of another code generator', async () => {
    const toJson = (message: object) => Buffer.from(JSON.stringify(message));
    const fromJson = (bytes: Buffer) => JSON.parse(String(bytes)) as object;
    const loaded = loadSync(ORDERS_PROTO)['orders.v1.Orders'] as ServiceDefinition;
    const codecs = {
      requestSerialize: toJson,
      requestDeserialize: fromJson,
      responseSerialize: toJson,
      responseDeserialize: fromJson,
    };
    const methods = Object.entries(loaded).map(([name, { path, requestStream, responseStream }]) => [
      name,
      Object.freeze({ path, requestStream, responseStream, ...codecs }),
    ]);
    const definition = Object.freeze({ 'orders.v1.Orders': Object.freeze(Object.fromEntries(methods)) });
    const { orders, clientWarnings, serverWarnings } = await start({
      packageDefinition: definition as unknown as PackageDefinition,
    });
    responses.create = { request_id: 'r', quantity: 'few' };
    expect(await firstValueFrom(orders.create({ request_id: 'r', quantity: 'many' }))).toEqual(responses.create);
    expect(received).toEqual([{ request_id: 'r', quantity: 'many' }]);
    expect([...clientWarnings(), ...serverWarnings()]).toEqual([]);
  });

  it('does not change the package definition that the application passes', async () => {
    const packageDefinition = loadSync(ORDERS_PROTO);
    const service = packageDefinition['orders.v1.Orders'] as ServiceDefinition;
    const before = Object.values(service).map((method) => ({ ...method }));
    const { orders, clientWarnings } = await start({ packageDefinition });
    await firstValueFrom(orders.create({ request_id: 'r' }));
    expect(clientWarnings()).toHaveLength(1);
    for (const [index, method] of Object.values(service).entries()) {
      expect(method.requestSerialize).toBe(before[index]!.requestSerialize);
      expect(method.responseSerialize).toBe(before[index]!.responseSerialize);
    }
  });
});
