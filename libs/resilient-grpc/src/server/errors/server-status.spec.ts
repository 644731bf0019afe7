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
import { CircuitOpenError } from '../../errors/circuit-open-error.js';
import { ConcurrencyLimitError } from '../../errors/concurrency-limit-error.js';
import { CursorRegressionError } from '../../errors/cursor-regression-error.js';
import { DeadlineError } from '../../errors/deadline-error.js';
import { GrpcCallError, type GrpcCallFailure } from '../../errors/grpc-call-error.js';
import { IdleTimeoutError } from '../../errors/idle-timeout-error.js';
import { ReplayError } from '../../errors/replay-error.js';
import { ResumeError } from '../../errors/resume-error.js';
import { statusDetailsOf } from '../../errors/status-details.js';
import { StatusCode, type StatusName } from '../../status/status-code.js';
import { GrpcException } from './grpc-exception.js';
import { serverStatusOf } from './server-status.js';

const trailers = Metadata.fromHttp2Headers({ 'x-secret': 'hush' });
const UNEXPECTED = { code: 2, details: 'Internal server error', unexpected: true };

/** The class of a second copy of grpc-js. */
function otherMetadata(): typeof Metadata {
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
    details: 'the words of the upstream',
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

describe('a status that somebody gave', () => {
  it.each<[what: string, error: object]>([
    ['code and details', { code: 5, details: 'no order 7' }],
    ['code and message', { code: 5, message: 'no order 7' }],
    ['both texts: details wins', { code: 5, details: 'no order 7', message: 'five: no order 7' }],
    ['details that are no text', { code: 5, details: 7, message: 'no order 7' }],
    ['a code alone', { code: 16 }],
    ['trailers', { code: 8, details: 'no more', metadata: trailers }],
    ["what Nest's filter makes of a text", { status: 'error', message: 'no order 7' }],
    ['a message alone', { message: 'no order 7' }],
    ['details without a code', { details: 'no order 7' }],
    ['a number for a message', { code: 3, message: 7 }],
    ['a code in words', { code: 'NOT_FOUND', message: 'no order 7' }],
    ['half a code', { code: 4.5, message: 'no order 7' }],
    ['an error of grpc-js', Object.assign(new Error('5 NOT_FOUND: x'), { code: 5, details: 'x', metadata: trailers })],
    ['an error with code and details', Object.assign(new Error('oh'), { code: 5, details: 'no order 7' })],
    ['an error with code and trailers', Object.assign(new Error('no order 7'), { code: 5, metadata: trailers })],
    ['several messages', { code: 3, message: ['a must be b', 'c must be d'] }],
    ['no messages', { code: 3, message: [] }],
    ['nothing at all', {}],
  ])('is what grpc-js makes of it: %s', (_, error) => {
    const { code, details, metadata }: { code: number; details: unknown; metadata?: unknown } =
      serverErrorToStatus(error);
    const status = serverStatusOf(error, false);
    expect(status).toEqual({ code, details: String(details), ...(metadata !== null && { metadata }) });
    // As an exception of Nest just the same, of any version.
    expect(serverStatusOf(new RpcException(error), false)).toEqual(status);
  });

  it('is that of an exception', () => {
    const exception = new GrpcException('NOT_FOUND', 'no order 7', { metadata: { 'x-shard': 'a' } });
    const { metadata, ...status } = serverStatusOf(exception, false);
    expect(status).toEqual({ code: 5, details: 'no order 7' });
    expect(metadata?.getMap()).toEqual({ 'x-shard': 'a' });
    expect(serverStatusOf(new RpcException('no order 7'), false)).toEqual({ code: 2, details: 'no order 7' });
    expect(serverStatusOf(new KafkaRetriableException('again'), false)).toEqual({ code: 2, details: 'again' });
    // Nest 12's own: not an RpcException.
    const nests = Object.assign(new Error('no'), { getError: () => ({ code: 5, message: 'no' }) });
    expect(serverStatusOf(nests, false)).toEqual({ code: 5, details: 'no' });
  });

  it('is UNKNOWN where its code is none, or OK, and belongs in the log', () => {
    expect(serverStatusOf({ code: 404, message: 'no order 7' }, false)).toEqual({
      code: 2,
      details: 'no order 7 (404 is no code of a gRPC error)',
      unexpected: true,
    });
    expect(serverStatusOf(new RpcException({ code: 0, message: 'fine' }), false)).toEqual({
      code: 2,
      details: 'fine (0 is no code of a gRPC error)',
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
  ])('is that of an error of ours: $name', (error) => {
    expect(serverStatusOf(error, false)).toEqual({ code: error.code, details: error.message });
  });

  it('has trailers of another copy of grpc-js, too', () => {
    const metadata = new (otherMetadata())();
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

  it('has text that can be sent, and no metadata that is none', () => {
    expect(serverStatusOf({ code: 3, details: 'half \ud83d', metadata: { 'x-shard': 'a' } }, false)).toEqual({
      code: 3,
      details: 'half \ufffd',
    });
  });
});

describe('any other failure', () => {
  it.each<[what: string, error: unknown]>([
    ['an error', new Error('password of the database')],
    ['an error of Node', Object.assign(new Error('connect ECONNREFUSED 10.0.0.7'), { code: 'ECONNREFUSED' })],
    ['the end of a command', Object.assign(new Error('Command failed: login --password=hunter2'), { code: 7 })],
    [
      'an error of a database',
      Object.assign(new Error('not authorized on payroll'), { code: 13, codeName: 'Unauthorized' }),
    ],
    [
      'one with a code beyond those of gRPC',
      Object.assign(new Error('duplicate key in shop.customers'), { code: 11_000 }),
    ],
    ['one with a code, within an exception', new RpcException(Object.assign(new Error('exit'), { code: 1 }))],
    ['a DOMException', new DOMException('row 17 of table salaries', 'NotFoundError')],
    ['an error within an exception', new RpcException(new Error('password of the database'))],
    ['text', 'password of the database'],
    ['a number', 5],
    ['null', null],
    ['undefined', undefined],
    ['a function', () => {}],
    [
      'an object that cannot be read',
      new Proxy(
        {},
        {
          has: () => {
            throw new Error('no');
          },
        },
      ),
    ],
  ])('is not told, and belongs in the log: %s', (_, error) => {
    expect(serverStatusOf(error, false)).toEqual(UNEXPECTED);
  });
});

describe('a status with trailers that cannot be sent', () => {
  it.each([
    'connection',
    'keep-alive',
    'proxy-connection',
    'transfer-encoding',
    'upgrade',
    'http2-settings',
    'te',
    'content-length',
    'grpc-status',
    'grpc-message',
  ])('goes without %s, and belongs in the log', (key) => {
    const metadata = Metadata.fromHttp2Headers({ [key]: '0', 'x-shard': ['a', 'b'] });
    const { metadata: sent, ...status } = serverStatusOf({ code: 5, details: 'no order 7', metadata }, false);
    expect(status).toEqual({ code: 5, details: 'no order 7', unexpected: true });
    expect(sent!.toJSON()).toEqual({ 'x-shard': ['a', 'b'] });
    expect(metadata.get(key)).toEqual(['0']);
  });

  it('has as a list what HTTP takes once', () => {
    const metadata = Metadata.fromHttp2Headers({ via: 'c', 'set-cookie': ['d', 'e'] });
    for (const value of ['a', 'b']) metadata.add('etag', value);
    const { metadata: sent, ...status } = serverStatusOf({ code: 5, details: 'no order 7', metadata }, false);
    expect(status).toEqual({ code: 5, details: 'no order 7' });
    expect(sent!.toJSON()).toEqual({ via: ['c'], 'set-cookie': ['d', 'e'], etag: ['a, b'] });
  });
});

describe('a status that is too long for trailers', () => {
  // Beyond 64 KiB Node sends nothing, for ever, and nothing of later calls on the connection.
  it('goes without its details, and belongs in the log', () => {
    const details = [{ typeUrl: 'google.rpc.DebugInfo', value: { detail: 'x'.repeat(50_000) } }];
    expect(serverStatusOf(new GrpcException('NOT_FOUND', 'no order 7', { details }), false)).toEqual({
      code: 5,
      details: 'no order 7',
      unexpected: true,
    });
    const many = new Metadata();
    for (let at = 0; at < 1_000; at++) many.add('x-order', `no order ${at}, nor any other like it`);
    expect(serverStatusOf({ code: 5, details: 'x', metadata: many }, false)).toEqual({
      code: 5,
      details: 'x',
      unexpected: true,
    });
  });

  it('has its text cut short', () => {
    expect(serverStatusOf({ code: 5, details: 'é'.repeat(20_000) }, false)).toEqual({
      code: 5,
      details: `${'é'.repeat(512)}...`,
      unexpected: true,
    });
  });

  it('stays as it is where it just fits', () => {
    const details = [{ typeUrl: 'google.rpc.DebugInfo', value: { detail: 'x'.repeat(44_000) } }];
    const exception = new GrpcException('NOT_FOUND', 'no order 7', { details });
    expect(serverStatusOf(exception, false)).toEqual({ code: 5, details: 'no order 7', metadata: exception.metadata });
  });
});

describe('a failed call to another server', () => {
  it('keeps its code and words, but nothing of its trailers', () => {
    expect(serverStatusOf(upstream('NOT_FOUND'), false)).toEqual({ code: 5, details: 'the words of the upstream' });
    expect(serverStatusOf(new RpcException(upstream('NOT_FOUND')), false)).toEqual({
      code: 5,
      details: 'the words of the upstream',
    });
  });

  it.each<StatusName>(['INTERNAL', 'UNKNOWN'])('keeps its words to the log where they are of a fault: %s', (name) => {
    expect(serverStatusOf(upstream(name), false)).toEqual({
      code: StatusCode[name],
      details: `A call to another server failed: ${name}`,
      unexpected: true,
    });
  });

  it('tells nothing of the addresses that our client tried', () => {
    const error = upstream('UNAVAILABLE', { reason: 'outage', details: 'connect ECONNREFUSED 10.0.0.7:5000' });
    expect(serverStatusOf(error, false)).toEqual({ code: 14, details: 'A call to another server failed: UNAVAILABLE' });
  });

  it('is found within the end of a stream that was resumed', () => {
    const cause = upstream('INTERNAL');
    const error = new ResumeError('poison', cause.code, `failed 5 times, at last with "${cause.message}"`, { cause });
    expect(serverStatusOf(error, false)).toEqual(serverStatusOf(cause, false));
    expect(serverStatusOf(new ResumeError('cursor', 13, 'the cursor of a message is 1'), false)).toEqual({
      code: 13,
      details: 'the cursor of a message is 1',
    });
  });
});

describe('an HttpException', () => {
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
  ])('of status %i is %s', (http, code) => {
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
  ])('has the text that HTTP would have: %o', (exception, details) => {
    expect(serverStatusOf(exception, false).details).toBe(details);
  });

  it('that lists what is wrong has a violation for each', () => {
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

  it('that lists by path has the paths, too', () => {
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

  it('that lists very much stays within what trailers can hold', () => {
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

describe('an error that has passed exception filters', () => {
  it('is told, as grpc-js would: a filter has made it so', () => {
    const error = Object.assign(new Error('out of tea'), { code: 9 });
    expect(serverStatusOf(error, true)).toEqual({ code: 9, details: 'out of tea' });
    expect(serverStatusOf(new Error('out of tea'), true)).toEqual({ code: 2, details: 'out of tea' });
    expect(serverStatusOf(new RpcException(error), true)).toEqual({ code: 9, details: 'out of tea' });
  });
});
