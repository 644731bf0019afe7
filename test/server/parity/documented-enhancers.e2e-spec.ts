import {
  BadGatewayException,
  BadRequestException,
  Catch,
  ClassSerializerInterceptor,
  Controller,
  ParseIntPipe,
  RequestTimeoutException,
  ValidationPipe,
  type ArgumentMetadata,
  type CallHandler,
  type ExecutionContext,
  type ValidationPipeOptions,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import {
  BaseRpcExceptionFilter,
  GrpcMethod,
  GrpcStreamCall,
  GrpcStreamMethod,
  RpcException,
} from '@nestjs/microservices';
import {
  Metadata,
  status as Code,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
} from '@grpc/grpc-js';
import { instanceToInstance, instanceToPlain, plainToInstance } from 'class-transformer';
import { IsInt, IsOptional, IsString } from 'class-validator';
import { GrpcRequestStream } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { catchError, concatMap, count, from, map, Observable, of, range, tap, throwError, timeout } from 'rxjs';
import { inspect } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { notes, numbers } from './client.js';
import { startServer } from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

class NoteDto {
  @IsString()
  @IsOptional()
  text?: string;

  @IsInt()
  number!: number;

  @IsOptional()
  payload?: unknown;
}

/** Handlers that work on both servers. */
@Controller()
class ObservableHandlers {
  @GrpcMethod('Kinds', 'Unary')
  unary({ number }: NoteDto, metadata: Metadata): NoteDto {
    return Object.assign(new NoteDto(), { number: number + metadata.get('added').length });
  }

  @GrpcMethod('Kinds', 'Watch')
  watch({ number }: NoteDto): Observable<NoteDto> {
    return range(1, number).pipe(map((at) => Object.assign(new NoteDto(), { number: at })));
  }

  @GrpcStreamMethod('Kinds', 'Collect')
  collect(requests: Observable<NoteDto>, metadata: Metadata): Observable<object> {
    return requests.pipe(
      count(),
      map((number) => ({ number: number + metadata.get('added').length })),
    );
  }

  @GrpcStreamMethod('Kinds', 'Chat')
  chat(requests: Observable<NoteDto>): Observable<object> {
    return requests.pipe(concatMap(({ number }) => [{ number }, { number }]));
  }

  @GrpcStreamCall('Calls', 'Collect')
  collectCalls(call: ServerReadableStream<NoteDto, object>, answer: sendUnaryData<object>): void {
    let received = 0;
    call.on('data', () => received++);
    call.on('end', () => answer(null, { number: received }));
  }

  @GrpcStreamCall('Calls', 'Chat')
  chatCalls(call: ServerDuplexStream<NoteDto, object>): void {
    call.on('data', ({ number }: NoteDto) => {
      call.write({ number });
      call.write({ number });
    });
    call.on('end', () => call.end());
  }
}

/** Handlers that use what only this library's server has. */
@Controller()
class StreamHandlers extends ObservableHandlers {
  @GrpcMethod('Kinds', 'Unary')
  override unary({ number }: NoteDto, metadata: Metadata): NoteDto {
    return { number: number + metadata.get('added').length };
  }

  @GrpcMethod('Kinds', 'Watch')
  override watch({ number }: NoteDto): Observable<NoteDto> {
    return range(1, number).pipe(map((at) => ({ number: at })));
  }

  @GrpcStreamMethod('Kinds', 'Collect')
  override collect(requests: GrpcRequestStream<NoteDto>, metadata: Metadata): Observable<object> {
    return super.collect(requests, metadata);
  }

  @GrpcStreamMethod('Kinds', 'Chat')
  override chat(requests: GrpcRequestStream<NoteDto>): Observable<object> {
    return super.chat(requests);
  }
}

/** Handlers that iterate over the requests. */
@Controller()
class IteratingHandlers extends StreamHandlers {
  @GrpcStreamMethod('Kinds', 'Collect')
  // @ts-expect-error -- the handler returns a promise
  override async collect(requests: GrpcRequestStream<NoteDto>, metadata: Metadata): Promise<object> {
    let received = metadata.get('added').length;
    for await (const _note of requests) received++;
    return { number: received };
  }

  @GrpcStreamMethod('Kinds', 'Chat')
  override chat(requests: GrpcRequestStream<NoteDto>): Observable<object> {
    return from(twice(requests));
  }
}

async function* twice(requests: AsyncIterable<NoteDto>): AsyncGenerator<object> {
  for await (const { number } of requests) {
    yield { number };
    yield { number };
  }
}

const FORMS = { ObservableHandlers, StreamHandlers, IteratingHandlers };

const ANSWERS: Readonly<Record<string, readonly number[]>> = {
  'Kinds/Unary': [3],
  'Kinds/Watch': [1, 2, 3],
  'Kinds/Collect': [3],
  'Kinds/Chat': [1, 1, 2, 2, 3, 3],
  'Calls/Collect': [3],
  'Calls/Chat': [1, 1, 2, 2, 3, 3],
};

interface Enhancers {
  readonly pipes?: readonly { transform(value: unknown, metadata: ArgumentMetadata): unknown }[];
  readonly interceptors?: readonly {
    intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> | Promise<Observable<unknown>>;
  }[];
  readonly guards?: readonly { canActivate(context: ExecutionContext): boolean | Promise<boolean> }[];
  readonly filters?: readonly { catch(error: never, host: never): Observable<unknown> }[];
}

const validation = (options: ValidationPipeOptions): Enhancers => ({ pipes: [new ValidationPipe(options)] });
const STRICT = { transform: true, whitelist: true, forbidNonWhitelisted: true, validateCustomDecorators: true };
const onPayload = (work: (value: any) => unknown): Enhancers => ({
  pipes: [{ transform: (value, { type }) => (type === 'body' ? work(value) : value) }],
});
const onResponse = (work: (responses: Observable<any>) => Observable<unknown>): Enhancers => ({
  interceptors: [{ intercept: (_context, next) => work(next.handle()) }],
});

@Catch(RpcException)
class RpcFilter {
  catch(exception: RpcException): Observable<never> {
    return throwError(() => exception.getError());
  }
}

@Catch()
class AllExceptionsFilter extends BaseRpcExceptionFilter {}

/** Enhancers that leave each call as it is. */
const HARMLESS: Readonly<Record<string, () => Enhancers>> = {
  ValidationPipe: () => validation({}),
  'ValidationPipe with transform': () => validation({ transform: true }),
  'ValidationPipe with implicit conversion': () =>
    validation({ transform: true, transformOptions: { enableImplicitConversion: true } }),
  'ValidationPipe with whitelist': () => validation({ whitelist: true }),
  'ValidationPipe with forbidNonWhitelisted': () => validation({ whitelist: true, forbidNonWhitelisted: true }),
  'ValidationPipe with transform and whitelist': () => validation({ transform: true, whitelist: true }),
  'ValidationPipe with everything, for each parameter': () => validation(STRICT),
  ClassSerializerInterceptor: () => ({ interceptors: [new ClassSerializerInterceptor(new Reflector())] }),
  LoggingInterceptor: () => ({
    interceptors: [
      {
        intercept: (context, next) => {
          const line = inspect(context.getArgByIndex(0));
          return next.handle().pipe(tap(() => line.length));
        },
      },
    ],
  }),
  TransformInterceptor: () => onResponse(map((data) => ({ ...data }))),
  ExcludeNullInterceptor: () => onResponse(map((value) => (value === null ? '' : value))),
  ErrorsInterceptor: () => onResponse(catchError(() => throwError(() => new BadGatewayException()))),
  TimeoutInterceptor: () =>
    onResponse((responses) =>
      responses.pipe(
        timeout(50_000),
        catchError(() => throwError(() => new RequestTimeoutException())),
      ),
    ),
  AuthGuard: () => ({ guards: [{ canActivate: () => Promise.resolve(true) }] }),
  'ExceptionFilter of RpcException': () => ({ filters: [new RpcFilter()] }),
  AllExceptionsFilter: () => ({ filters: [new AllExceptionsFilter()] }),
};

const isCall = (context: ExecutionContext) => 'getDeadline' in Object(context.getArgByIndex(0));

/** Enhancers that replace requests, responses, or the call. */
const HARMFUL: Readonly<Record<string, () => Enhancers>> = {
  ParseIntPipe: () => ({ pipes: [new ParseIntPipe()] }),
  'a pipe that fails': () =>
    onPayload(() => {
      throw new BadRequestException();
    }),
  'a pipe that instantiates the requests': () => onPayload((value) => plainToInstance(NoteDto, value)),
  'a pipe that serializes the requests': () => onPayload((value) => JSON.parse(JSON.stringify(value)) as unknown),
  'a pipe that structurally clones the requests': () => onPayload((value) => structuredClone(value) as unknown),
  'a pipe that spreads the requests': () => onPayload((value: object) => ({ ...value })),
  'a pipe that makes each argument plain': () => ({
    pipes: [{ transform: (value: object) => instanceToPlain(value) }],
  }),
  // Without its handler, nothing ends the call of a `@GrpcStreamCall`.
  CacheInterceptor: () => ({
    interceptors: [{ intercept: (context, next) => (isCall(context) ? next.handle() : of([])) }],
  }),
  RolesGuard: () => ({ guards: [{ canActivate: () => false }] }),
};

/** Pipes whose copies work like the original. */
const COPYING: Readonly<Record<string, () => Enhancers>> = {
  'a pipe that transforms into an instance of its own class': () =>
    onPayload((value: object) => plainToInstance(value.constructor as typeof NoteDto, value)),
  'a pipe that transforms streams into an Observable': () =>
    onPayload((value: object) => (value instanceof Observable ? plainToInstance(Observable, value) : value)),
  'a pipe that clones by instanceToInstance': () => onPayload((value: object) => instanceToInstance(value)),
  'a pipe that clones with the prototype': () =>
    onPayload((value: object) => Object.assign(Object.create(Object.getPrototypeOf(value) as object) as object, value)),
};

/** Calls each method of a server with `enhancers`; resolves to the answers. */
async function answersOf(
  controller: new () => ObservableHandlers,
  { pipes = [], interceptors = [], guards = [], filters = [] }: Enhancers,
): Promise<Record<string, readonly number[] | Code>> {
  const server = await startServer({
    serverKind: 'ResilientGrpcServer',
    controllers: [controller],
    inheritAppConfig: true,
    configure: (app) => {
      app.useGlobalPipes(...pipes);
      app.useGlobalInterceptors(...interceptors);
      app.useGlobalGuards(...guards);
      app.useGlobalFilters(...(filters as never[]));
    },
  });
  try {
    const answers = Object.keys(ANSWERS).map(async (method) => {
      const requests = /Unary|Watch/.test(method) ? { number: 3 } : notes(3);
      const answer = await server.client.call(`parity.v1.${method}`, requests);
      return [method, answer.status.code === Code.OK ? numbers(answer) : answer.status.code] as const;
    });
    return Object.fromEntries(await Promise.all(answers));
  } finally {
    await server.close();
  }
}

describe.each(Object.keys(FORMS) as (keyof typeof FORMS)[])('%s', (form) => {
  const controller = FORMS[form] as typeof ObservableHandlers;

  it.each(Object.keys(HARMLESS))('respond as without enhancers behind %s', async (name) => {
    expect(await answersOf(controller, HARMLESS[name]!())).toEqual(ANSWERS);
  });

  it('respond as without enhancers behind all harmless enhancers together', async () => {
    const all = Object.values(HARMLESS).map((create) => create());
    const together: Enhancers = {
      pipes: all.flatMap(({ pipes = [] }) => pipes),
      interceptors: all.flatMap(({ interceptors = [] }) => interceptors),
      guards: all.flatMap(({ guards = [] }) => guards),
      filters: all.flatMap(({ filters = [] }) => filters),
    };
    expect(await answersOf(controller, together)).toEqual(ANSWERS);
  });

  // A copy that is a plain Observable cannot be iterated over.
  const copying = Object.keys(COPYING).filter((name) => form !== 'IteratingHandlers' || !name.endsWith('Observable'));
  it.each(copying)('respond behind %s', async (name) => {
    const answers = await answersOf(controller, COPYING[name]!());
    expect(kindsOf(answers)).toEqual(kindsOf(ANSWERS));
  });

  it.each(Object.keys(HARMFUL))('end each call behind %s', async (name) => {
    const answers = await answersOf(controller, HARMFUL[name]!());
    expect(Object.keys(answers).sort()).toEqual(Object.keys(ANSWERS).sort());
    if (name.endsWith('requests')) expect(answers).toMatchObject({ 'Kinds/Unary': [3], 'Kinds/Watch': [1, 2, 3] });
  });
});

/** The answers of the methods whose handlers receive messages or Observables. */
function kindsOf(answers: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(answers).filter(([method]) => method.startsWith('Kinds/')));
}
