import { createRequire } from 'node:module';
import { Metadata } from '@grpc/grpc-js';
import { serverErrorToStatus } from '@grpc/grpc-js/build/src/server-call.js';
import {
  BadGatewayException,
  BadRequestException,
  ConflictException,
  HttpException,
  InternalServerErrorException,
  NotFoundException,
  RequestTimeoutException,
  UnprocessableEntityException,
} from '@nestjs/common';
import { KafkaRetriableException, RpcException } from '@nestjs/microservices';
import { describe, expect, it } from 'vitest';
import {
  CircuitOpenError,
  ConcurrencyLimitError,
  DeadlineError,
  IdleTimeoutError,
} from '../../errors/operator-errors.js';
import { CursorRegressionError, ResumeError, ReplayError } from '../../errors/stream-errors.js';
import { GrpcCallError, type GrpcCallFailure } from '../../errors/grpc-call-error.js';
import { statusDetailsOf } from '../../errors/status-details.js';
import { StatusCode, type StatusName } from '../../status/status-code.js';
import { GrpcException } from './grpc-exception.js';
import { serverStatusOf } from './server-status.js';

const trailers = Metadata.fromHttp2Headers({ 'x-secret': 'hush' });
const UNEXPECTED = { code: 2, details: 'Internal server error', unexpected: true };

/** Loads the Metadata class of a second copy of grpc-js. */
function loadOtherMetadata(): typeof Metadata {
  const require = createRequire(import.meta.url);
  const path = require.resolve('@grpc/grpc-js/build/src/metadata.js');
  const own = require.cache[path];
  Reflect.deleteProperty(require.cache, path);
  const { Metadata: other } = require(path) as { Metadata: typeof Metadata };
  require.cache[path] = own;
  return other;
}

const upstream = (code: StatusName, more: Partial<GrpcCallFailure> = {}): GrpcCallError =>
  new GrpcCallError({
    code: StatusCode[code],
    details: 'the details of the upstream',
    metadata: trailers,
    client: 'stock',
    path: '/stock.v1.Stock/Get',
    peer: '10.0.0.7:5000',
    reason: 'server',
    reachedServer: 'yes',
    attempts: [],
    notRetriedBecause: 'fatal-status',
    retryAfterMs: undefined,
    ...more,
  });

describe('given status', () => {
  it.each<[what: string, error: object]>([
    ['code and details', { code: 5, details: 'no order 7' }],
    ['code and message', { code: 5, message: 'no order 7' }],
    ['details and a message, which is ignored', { code: 5, details: 'no order 7', message: 'five: no order 7' }],
    ['details that are not a string', { code: 5, details: 7, message: 'no order 7' }],
    ['a code alone', { code: 16 }],
    ['trailers', { code: 8, details: 'no more', metadata: trailers }],
    ["the output of Nest's filter for a string", { status: 'error', message: 'no order 7' }],
    ['a message alone', { message: 'no order 7' }],
    ['details without a code', { details: 'no order 7' }],
    ['a numeric message', { code: 3, message: 7 }],
    ['a fractional code', { code: 4.5, message: 'no order 7' }],
    ['an error of grpc-js', Object.assign(new Error('5 NOT_FOUND: x'), { code: 5, details: 'x', metadata: trailers })],
    ['an error with code and details', Object.assign(new Error('oh'), { code: 5, details: 'no order 7' })],
    ['an error with code and trailers', Object.assign(new Error('no order 7'), { code: 5, metadata: trailers })],
    ['an array of messages', { code: 3, message: ['a must be b', 'c must be d'] }],
    ['an empty array of messages', { code: 3, message: [] }],
    ['an empty object', {}],
  ])('returns the same status as grpc-js for %s', (_, error) => {
    const { code, details, metadata }: { code: number; details: unknown; metadata?: unknown } =
      serverErrorToStatus(error);
    const status = serverStatusOf(error, false);
    expect(status).toEqual({ code, details: String(details), ...(metadata !== null && { metadata }) });
    // An RpcException of any Nest version produces the same status.
    expect(serverStatusOf(new RpcException(error), false)).toEqual(status);
  });

  it('returns the status of a GrpcException or RpcException', () => {
    const exception = new GrpcException('NOT_FOUND', 'no order 7', { metadata: { 'x-shard': 'a' } });
    const { metadata, ...status } = serverStatusOf(exception, false);
    expect(status).toEqual({ code: 5, details: 'no order 7' });
    expect(metadata?.getMap()).toEqual({ 'x-shard': 'a' });
    expect(serverStatusOf(new RpcException('no order 7'), false)).toEqual({ code: 2, details: 'no order 7' });
    expect(serverStatusOf(new KafkaRetriableException('again'), false)).toEqual({ code: 2, details: 'again' });
    // The GrpcException of Nest 12 is not an RpcException.
    const nestException = Object.assign(new Error('no'), { getError: () => ({ code: 5, message: 'no' }) });
    expect(serverStatusOf(nestException, false)).toEqual({ code: 5, details: 'no' });
  });

  it('returns UNKNOWN with the message for an error whose code is a string, and marks the error as unexpected if the string is the name or number of a gRPC code', () => {
    const thrown = (code: unknown) => serverStatusOf(new RpcException({ code, message: 'no order 7' }), true);
    const status = { code: 2, details: 'no order 7' };
    for (const code of ['NOT_FOUND', '5']) expect(thrown(code)).toEqual({ ...status, unexpected: true });
    for (const code of ['23505', 'ECONNREFUSED', undefined]) expect(thrown(code)).toEqual(status);
  });

  it('returns UNKNOWN and marks the error as unexpected if the code of an RpcException is under another name', () => {
    const thrown = (error: object) => serverStatusOf(new RpcException({ ...error, message: 'no order 7' }), true);
    for (const error of [{ status: 5 }, { statusCode: 404 }]) {
      expect(thrown(error)).toEqual({ code: 2, details: 'no order 7', unexpected: true });
    }
    expect(thrown({ status: 'error' })).toEqual({ code: 2, details: 'no order 7' });
  });

  it('returns UNKNOWN for an error whose code is OK or an integer that is not a gRPC code, and marks the error as unexpected', () => {
    expect(serverStatusOf({ code: 404, message: 'no order 7' }, false)).toEqual({
      code: 2,
      details: 'no order 7 (404 is not a gRPC error code)',
      unexpected: true,
    });
    expect(serverStatusOf(new RpcException({ code: 0, message: 'fine' }), false)).toEqual({
      code: 2,
      details: 'fine (0 is not a gRPC error code)',
      unexpected: true,
    });
    expect(serverStatusOf({ code: -1, details: 'x' }, false).code).toBe(2);
  });

  it.each([
    new CircuitOpenError('orders', 1_200),
    new ConcurrencyLimitError(10, 5),
    new CursorRegressionError(7, 6, 'the cursor went back'),
    new DeadlineError(300),
    new IdleTimeoutError(5_000),
    new ReplayError('duplicate-id', 'two messages have the id 7', 2),
    new ResumeError('cursor', 13, 'the cursor of a message is 1'),
  ])("returns the status of the library's $name", (error) => {
    expect(serverStatusOf(error, false)).toEqual({ code: error.code, details: error.message });
  });

  it('keeps trailers created by another copy of grpc-js', () => {
    const metadata = new (loadOtherMetadata())();
    metadata.add('x-shard', 'a');
    metadata.add('x-shard', 'b');
    metadata.set('x-key-bin', Buffer.of(7));
    expect(metadata).not.toBeInstanceOf(Metadata);
    for (const error of [
      { code: 5, details: 'no order 7', metadata },
      Object.assign(new Error('no order 7'), { code: 5, metadata }),
      new GrpcException('NOT_FOUND', 'no order 7', { metadata }),
    ]) {
      const { metadata: sent, ...status } = serverStatusOf(error, false);
      expect(status).toEqual({ code: 5, details: 'no order 7' });
      expect(sent).toBeInstanceOf(Metadata);
      expect(sent!.toJSON()).toEqual({ 'x-shard': ['a', 'b'], 'x-key-bin': [Buffer.of(7)] });
    }
  });

  it('replaces lone surrogates in the details of a status and drops invalid metadata', () => {
    expect(serverStatusOf({ code: 3, details: 'half \ud83d', metadata: { 'x-shard': 'a' } }, false)).toEqual({
      code: 3,
      details: 'half \ufffd',
    });
  });
});

describe('unexpected error', () => {
  it.each<[what: string, error: unknown]>([
    ['an error', new Error('password of the database')],
    ['an error from Node', Object.assign(new Error('connect ECONNREFUSED 10.0.0.7'), { code: 'ECONNREFUSED' })],
    [
      'an error from a failed command',
      Object.assign(new Error('Command failed: login --password=hunter2'), { code: 7 }),
    ],
    [
      'an error from a database',
      Object.assign(new Error('not authorized on payroll'), { code: 13, codeName: 'Unauthorized' }),
    ],
    [
      "an error with a code outside gRPC's range",
      Object.assign(new Error('duplicate key in shop.customers'), { code: 11_000 }),
    ],
    ['an error with a code inside an RpcException', new RpcException(Object.assign(new Error('exit'), { code: 1 }))],
    ['a DOMException', new DOMException('row 17 of table salaries', 'NotFoundError')],
    ['an error inside an RpcException', new RpcException(new Error('password of the database'))],
    ['a string', 'password of the database'],
    ['a number', 5],
    ['null', null],
    ['undefined', undefined],
    ['a function', () => {}],
    [
      'an unreadable object',
      new Proxy(
        {},
        {
          has: () => {
            throw new Error('no');
          },
        },
      ),
    ],
  ])('hides %s from the caller and marks it as unexpected', (_, error) => {
    expect(serverStatusOf(error, false)).toEqual(UNEXPECTED);
  });
});

describe('failed upstream call', () => {
  it('keeps the code and details of a failed upstream call, but not its trailers', () => {
    expect(serverStatusOf(upstream('NOT_FOUND'), false)).toEqual({ code: 5, details: 'the details of the upstream' });
    expect(serverStatusOf(new RpcException(upstream('NOT_FOUND')), false)).toEqual({
      code: 5,
      details: 'the details of the upstream',
    });
  });

  it.each<StatusName>(['INTERNAL', 'UNKNOWN'])('hides the details of an upstream call that failed with %s', (name) => {
    expect(serverStatusOf(upstream(name), false)).toEqual({
      code: StatusCode[name],
      details: `A call to another server failed: ${name}`,
      unexpected: true,
    });
  });

  it('hides details that may come from a proxy in front of the upstream', () => {
    const error = upstream('NOT_FOUND', { reachedServer: 'maybe', details: 'no route to 10.0.0.7:5000' });
    expect(serverStatusOf(error, false)).toEqual({ code: 5, details: 'A call to another server failed: NOT_FOUND' });
  });

  it('hides the upstream addresses that the client tried', () => {
    const error = upstream('UNAVAILABLE', { reason: 'outage', details: 'connect ECONNREFUSED 10.0.0.7:5000' });
    expect(serverStatusOf(error, false)).toEqual({ code: 14, details: 'A call to another server failed: UNAVAILABLE' });
  });

  it('finds a failed upstream call in the cause of a ResumeError', () => {
    const cause = upstream('INTERNAL');
    const error = new ResumeError('poison', cause.code, `failed 5 times, last with "${cause.message}"`, { cause });
    expect(serverStatusOf(error, false)).toEqual(serverStatusOf(cause, false));
    expect(serverStatusOf(new ResumeError('cursor', 13, 'the cursor of a message is 1'), false)).toEqual({
      code: 13,
      details: 'the cursor of a message is 1',
    });
  });
});

describe('HttpException', () => {
  it.each<[http: number, code: StatusName]>([
    [302, 'UNKNOWN'],
    [400, 'INVALID_ARGUMENT'],
    [401, 'UNAUTHENTICATED'],
    [403, 'PERMISSION_DENIED'],
    [404, 'NOT_FOUND'],
    [408, 'DEADLINE_EXCEEDED'],
    [409, 'ABORTED'],
    [410, 'FAILED_PRECONDITION'],
    [412, 'FAILED_PRECONDITION'],
    [416, 'OUT_OF_RANGE'],
    [418, 'FAILED_PRECONDITION'],
    [422, 'INVALID_ARGUMENT'],
    [429, 'RESOURCE_EXHAUSTED'],
    [499, 'CANCELLED'],
    [500, 'INTERNAL'],
    [501, 'UNIMPLEMENTED'],
    [502, 'INTERNAL'],
    [503, 'UNAVAILABLE'],
    [504, 'DEADLINE_EXCEEDED'],
    [511, 'INTERNAL'],
    [600, 'UNKNOWN'],
  ])('maps HTTP status %i to %s', (http, code) => {
    expect(serverStatusOf(new HttpException('no order 7', http), false)).toEqual({
      code: StatusCode[code],
      details: 'no order 7',
    });
  });

  it.each<[HttpException, details: string]>([
    [new NotFoundException(), 'Not Found'],
    [new NotFoundException('no order 7'), 'no order 7'],
    [new ConflictException({ reason: 'taken' }), 'Conflict Exception'],
    [new InternalServerErrorException('no order 7', { cause: new Error('hush') }), 'no order 7'],
    [new BadGatewayException({ message: 'no order 7', statusCode: 502 }), 'no order 7'],
    [new RequestTimeoutException({ message: 7 }), 'Request Timeout Exception'],
    [new BadRequestException([]), 'Bad Request Exception'],
    [new NotFoundException('x'.repeat(2_000)), 'x'.repeat(2_000)],
  ])(
    'uses the text of the HTTP response of %o, or the exception message if there is no text, as the status details',
    (exception, details) => {
      expect(serverStatusOf(exception, false).details).toBe(details);
    },
  );

  it('adds a field violation for each message of a BadRequestException', () => {
    const { metadata, ...status } = serverStatusOf(
      new BadRequestException(['id must be a string', 'too many items']),
      false,
    );
    expect(status).toEqual({ code: 3, details: 'id must be a string; too many items' });
    expect(statusDetailsOf(metadata!)).toEqual([
      {
        typeUrl: 'type.googleapis.com/google.rpc.BadRequest',
        value: {
          fieldViolations: [
            { field: '', description: 'id must be a string', reason: '' },
            { field: '', description: 'too many items', reason: '' },
          ],
        },
      },
    ]);
  });

  it('adds field paths to the violations if an HttpException lists its messages by path', () => {
    const message = { 'items.0.quantity': ['too few', 'no number'], 'items.12': ['no item'], '...': ['more'] };
    const { metadata, details } = serverStatusOf(new UnprocessableEntityException({ message }), false);
    expect(details).toBe('too few; no number; no item; more');
    const [detail] = statusDetailsOf(metadata!);
    expect((detail?.value as any).fieldViolations.map(({ field, description }: any) => [field, description])).toEqual([
      ['items[0].quantity', 'too few'],
      ['items[0].quantity', 'no number'],
      ['items[12]', 'no item'],
      ['', 'more'],
    ]);
  });

  it('truncates a long list of messages of a BadRequestException so that it fits into trailers', () => {
    const { metadata, details } = serverStatusOf(
      new BadRequestException(
        Array.from({ length: 5_000 }, (_, at) => `items.${at}.quantity must not be less than ${at}`),
      ),
      false,
    );
    expect(details).toHaveLength(515);
    const [bytes] = metadata!.get('grpc-status-details-bin');
    expect(bytes!.length).toBeLessThan(6_144);
    const [detail] = statusDetailsOf(metadata!);
    expect((detail?.value as any).fieldViolations.length).toBeGreaterThan(80);
  });
});

describe('error that passed exception filters', () => {
  it('returns the code and the message of an error that has passed exception filters', () => {
    const error = Object.assign(new Error('out of tea'), { code: 9 });
    expect(serverStatusOf(error, true)).toEqual({ code: 9, details: 'out of tea' });
    expect(serverStatusOf(new Error('out of tea'), true)).toEqual({ code: 2, details: 'out of tea' });
    expect(serverStatusOf(new RpcException(error), true)).toEqual({ code: 9, details: 'out of tea' });
  });

  it('keeps the code and the message of a TypeError that a filter returned', () => {
    const error = Object.assign(new TypeError('id must be a UUID'), { code: 3 });
    expect(serverStatusOf(new RpcException(error), true)).toEqual({ code: 3, details: 'id must be a UUID' });
    expect(serverStatusOf(new TypeError('id must be a UUID'), true)).toEqual({ code: 2, details: 'id must be a UUID' });
  });
});
