import { STATUS_CODES } from 'node:http';
import {
  Catch,
  HttpException,
  type ArgumentsHost,
  type ExceptionFilter,
  type INestApplication,
  type Provider,
} from '@nestjs/common';
import { APP_FILTER, HttpAdapterHost, type AbstractHttpAdapter } from '@nestjs/core';
import { GrpcToHttpExceptionFilter } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { GrpcException } from 'nestjs-resilient-grpc/server';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ORDERS_PROTO } from '../nest/places.js';
import { startGateway, BODY_LENGTH, type Gateway } from './gateway.js';

const SECRET = 'table customers_eu of db-7.internal, key hush';

/** Trailers that carry the details of an error. */
export const detailed = (...[code, message, options]: ConstructorParameters<typeof GrpcException>) => {
  const { metadata } = new GrpcException(code, message, options);
  return Object.fromEntries(Object.entries(metadata.getMap()));
};

/** An application's own filter, for either HTTP server. */
class OwnFilter implements ExceptionFilter {
  catch(_exception: unknown, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<{ status(code: number): { send(body: object): void } }>();
    response.status(418).send({});
  }
}

@Catch()
class CatchAllFilter extends OwnFilter {}

@Catch(HttpException)
class HttpFilter extends OwnFilter {}

/** Defines the tests of HTTP responses to failed calls, with the HTTP server of `adapter`. */
export function describeGateway(name: string, adapter?: () => AbstractHttpAdapter): void {
  describe(`failed call over HTTP on ${name}`, () => {
    const leaks = captureLeaks();
    let server: ScriptedGrpcServer;
    let gateway: Gateway;
    beforeAll(async () => {
      server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
      gateway = await startGateway({ upstream: server.url, ...(adapter && { adapter }) });
    });
    beforeEach(() => {
      server.reset();
      gateway.log.lines.length = 0;
    });
    afterAll(async () => {
      await gateway.close();
      await server.close();
      await leaks.settled();
    });
    const lines = () => gateway.log.lines.filter(({ level }) => level !== 'debug');

    it.each<[code: string, status: number, message: string]>([
      // CANCELLED maps to 500, not to 499, because the server sent this status and no client disconnected.
      ['CANCELLED', 500, 'Internal server error'],
      ['UNKNOWN', 500, 'Internal server error'],
      ['DEADLINE_EXCEEDED', 504, 'Gateway Timeout'],
      ['PERMISSION_DENIED', 403, 'Forbidden'],
      ['UNAUTHENTICATED', 401, 'Unauthorized'],
      ['RESOURCE_EXHAUSTED', 429, 'Too Many Requests'],
      ['ABORTED', 409, 'Conflict'],
      ['UNIMPLEMENTED', 501, 'Not Implemented'],
      ['INTERNAL', 500, 'Internal server error'],
      ['UNAVAILABLE', 503, 'Service Unavailable'],
      ['DATA_LOSS', 500, 'Internal server error'],
    ])('maps %s to HTTP %i with the standard message instead of the upstream’s', async (code, status, message) => {
      server.script('Create', { status: code as 'INTERNAL', details: SECRET, trailers: { 'x-secret': 'hush' } });
      const { body, ...answer } = await gateway.get('observable/7');
      expect(answer.status).toBe(status);
      expect(body).toEqual({ statusCode: status, message, code });
      expect(JSON.stringify([body, [...answer.headers]])).not.toMatch(/hush|customers/);
      // The hidden details are logged.
      const logged = lines().filter(({ text }) => /: table customers_eu.*the caller received/.test(text));
      expect(logged.map(({ level, text }) => [level, text.slice(-25)])).toEqual([
        [status === 500 ? 'error' : 'warn', `; the caller received ${status}`],
      ]);
    });

    it('maps a request above the limit of the server to HTTP 413, because it would be refused again', async () => {
      const details = 'Received message larger than max (5000000 vs 4194304)';
      server.script('Create', { status: 'RESOURCE_EXHAUSTED', details });
      const { body, status } = await gateway.get('observable/7');
      expect([status, body]).toMatchObject([413, { statusCode: 413, code: 'RESOURCE_EXHAUSTED' }]);
    });

    it.each<[code: string, status: number, error: string]>([
      ['INVALID_ARGUMENT', 400, 'Bad Request'],
      ['NOT_FOUND', 404, 'Not Found'],
      ['ALREADY_EXISTS', 409, 'Conflict'],
      ['FAILED_PRECONDITION', 400, 'Bad Request'],
      ['OUT_OF_RANGE', 400, 'Bad Request'],
    ])('maps %s to HTTP %i with the upstream’s message, which describes the request', async (code, status, error) => {
      server.script('Create', { status: code as 'INTERNAL', details: 'no order №7' });
      for (const path of ['observable/7', 'promise/7']) {
        const { body, ...answer } = await gateway.get(path);
        expect(answer.status).toBe(status);
        expect(body).toEqual({ statusCode: status, message: 'no order №7', error, code });
      }
      expect(lines()).toEqual([]);
    });

    it('includes field violations in the HTTP response, but no other status details', async () => {
      const violation = { field: 'items[0].quantity', description: 'too few' };
      const trailers = detailed('INVALID_ARGUMENT', 'wrong', {
        statusDetails: [
          { typeUrl: 'google.rpc.DebugInfo', value: { detail: SECRET } },
          { typeUrl: 'google.rpc.BadRequest', value: { fieldViolations: [{ ...violation, reason: 'hush' }] } },
        ],
      });
      server.script('Create', { status: 'INVALID_ARGUMENT', details: 'wrong', trailers });
      const { body } = await gateway.get('promise/7');
      expect(body).toMatchObject({ statusCode: 400, message: 'wrong', fieldViolations: [violation] });
      expect(JSON.stringify(body)).not.toContain('hush');
    });

    it('includes field violations in the HTTP response even if the status has no message', async () => {
      const violation = { field: 'item', description: 'unknown' };
      const statusDetails = [{ typeUrl: 'google.rpc.BadRequest', value: { fieldViolations: [violation] } }];
      const trailers = detailed('INVALID_ARGUMENT', '', { statusDetails });
      server.script('Create', { status: 'INVALID_ARGUMENT', details: '', trailers });
      const { body } = await gateway.get('promise/7');
      expect(body).toMatchObject({ statusCode: 400, message: 'Bad Request', fieldViolations: [violation] });
    });

    it.each([
      ['UNAVAILABLE', 503, 1_001, '2'],
      ['RESOURCE_EXHAUSTED', 429, 30_000, '30'],
      ['UNAVAILABLE', 503, 0, '0'],
      ['NOT_FOUND', 404, 5_000, null],
      ['INTERNAL', 500, 5_000, null],
    ] as const)(
      'sends Retry-After in seconds, rounded up, only with HTTP 429 and 503: %s, HTTP %i, %i ms → %s',
      async (code, status, retryAfterMs, header) => {
        server.script('Create', { status: code, details: 'x', trailers: detailed(code, 'x', { retryAfterMs }) });
        const answer = await gateway.get('promise/7');
        expect(answer.status).toBe(status);
        expect(answer.headers.get('retry-after')).toBe(header);
      },
    );

    it('maps failures of iterated and resumed streams to HTTP statuses', async () => {
      server.script('Watch', [{ messages: [{ sequence: '1' }], status: 'NOT_FOUND', details: 'no such feed' }]);
      for (const path of ['iterated', 'resumed']) {
        const { status, body } = await gateway.get(path);
        expect([path, status]).toEqual([path, 404]);
        expect(body).toMatchObject({ message: 'no such feed', code: 'NOT_FOUND' });
      }
    });

    it('maps the error of the last call to an HTTP status if a stream stops resuming', async () => {
      server.script('Watch', { status: 'NOT_FOUND', details: 'no such feed' });
      const { status, body } = await gateway.get('exhausted');
      expect([status, body]).toEqual([404, expect.objectContaining({ message: 'no such feed', code: 'NOT_FOUND' })]);
      expect(server.counts('Watch').calls).toBe(5);
    });

    it('lets Nest handle an application error that wraps the error of a failed call', async () => {
      server.script('Create', { status: 'NOT_FOUND', details: 'no order' });
      const { status, body } = await gateway.get('wrapped/7');
      expect(status).toBe(500);
      expect(body).toEqual({ statusCode: 500, message: 'Internal server error' });
    });

    it('aborts the HTTP response body if the call fails after the status was sent', async () => {
      server.script('Create', { status: 'INTERNAL', details: SECRET });
      const answer = await fetch(`${gateway.url}/begun/7`);
      expect(answer.status).toBe(200);
      await expect(answer.text()).rejects.toThrow();
      // The gateway still responds.
      expect((await gateway.get('promise/7')).status).toBe(500);
    });

    it('completes an HTTP response that was ended before the call failed', async () => {
      server.script('Create', { status: 'INTERNAL', details: SECRET });
      const answer = await fetch(`${gateway.url}/sent/7`);
      expect(await answer.text()).toHaveLength(BODY_LENGTH);
    });

    it.each([
      ['INTERNAL', 500, SECRET, 'Internal server error'],
      ['NOT_FOUND', 404, 'no such feed', 'no such feed'],
    ] as const)(
      'maps %s, received before the first byte of a download, to HTTP %i if the download has an error handler',
      async (code, status, details, message) => {
        server.script('Watch', { status: code, details });
        const answer = await fetch(`${gateway.url}/download`);
        expect(answer.status).toBe(status);
        // Express sends the handler's text, Fastify the filter's body.
        const text = await answer.text();
        expect(text).toContain(message);
        expect(text).not.toContain('hush');
      },
    );

    it('aborts an HTTP download if its call fails midway', async () => {
      server.script('Watch', { messages: [{ sequence: '1' }], status: 'INTERNAL', details: SECRET });
      await expect(fetch(`${gateway.url}/download`).then((answer) => answer.text())).rejects.toThrow();
    });

    it.each([0, 1])(
      'sends the error of toHttpException as a server-sent event (events before it: %i)',
      async (sent) => {
        server.script('Watch', { hold: 'everything', status: 'INTERNAL', details: SECRET });
        // The headers are sent with or without a first event.
        const answer = await fetch(`${gateway.url}/events/${sent}`);
        expect(answer.status).toBe(200);
        await expect.poll(() => server.release(), { timeout: 20_000 }).toBe(1);
        const text = await answer.text();
        expect(text).toContain(`event: error\nid: ${sent + 1}\ndata: Internal server error`);
        expect(text).not.toContain('hush');
      },
    );

    it('logs server faults at most once a minute per method and code', async () => {
      server.script('Create', { status: 'INTERNAL', details: 'no table\nFAKE' });
      await Promise.all(Array.from({ length: 20 }, () => gateway.get('promise/7')));
      // An earlier test may have logged this line.
      expect(lines().length).toBeLessThanOrEqual(1);
      server.script('Watch', { status: 'DATA_LOSS', details: 'no table\nFAKE' });
      await Promise.all(Array.from({ length: 20 }, () => gateway.get('iterated')));
      const logged = lines().filter(({ text }) => text.includes('/Watch'));
      expect(logged.map(({ level, context }) => [level, context])).toEqual([['error', 'ResilientGrpc']]);
      expect(logged[0]!.text).toMatch(
        /^orders \/orders\.v1\.Orders\/Watch at 127\.0\.0\.1:\d+ failed: DATA_LOSS: no table\\u000aFAKE \(server, reached the server: yes\); the caller received 500$/,
      );
    });

    it.each([
      ['Nest creates the filter', {}],
      [
        'the application creates the filter',
        {
          providers: [],
          prepare: (app: INestApplication) =>
            app.useGlobalFilters(new GrpcToHttpExceptionFilter(app.get(HttpAdapterHost))),
        },
      ],
    ])('logs on shutdown the number of suppressed lines about server faults if %s', async (_, parts) => {
      const other = await startGateway({ upstream: server.url, ...(adapter && { adapter }), ...parts });
      server.script('Create', { status: 'INTERNAL', details: SECRET });
      for (let i = 0; i < 3; i++) await other.get('promise/7');
      await other.close();
      const logged = other.log.lines
        .map(({ text }) => text)
        // The lines that the filters of the other tests have left are also written.
        .filter((text) => text.includes(SECRET) && text.includes('; the caller received 500'));
      expect(logged).toEqual([logged[0], `${logged[0]!} (1 more in the last minute)`]);
    });

    it.each([
      ['request', { maxSendMessageLength: 1 }, 413, STATUS_CODES[413]],
      ['response', { maxReceiveMessageLength: 1 }, 500, 'Internal server error'],
    ])('maps RESOURCE_EXHAUSTED if the %s is larger than %o to HTTP %i', async (_, settings, expected, message) => {
      const limited = await startGateway({ upstream: server.url, settings, ...(adapter && { adapter }) });
      server.script('Create', { message: { id: '7' } });
      const { status, body, headers } = await limited.get('promise/7');
      expect(status).toBe(expected);
      expect(body).toEqual({ statusCode: expected, message, code: 'RESOURCE_EXHAUSTED' });
      expect(headers.get('retry-after')).toBeNull();
      await limited.close();
    });

    describe('with other filters', () => {
      const answerOf = async (providers: readonly Provider[], prepare?: (app: INestApplication) => void) => {
        const parts = { upstream: server.url, providers, ...(adapter && { adapter }), ...(prepare && { prepare }) };
        const other = await startGateway(parts);
        server.script('Create', { status: 'NOT_FOUND', details: 'no order' });
        const { status } = await other.get('promise/7');
        await other.close();
        return status;
      };
      const ours = { provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter };

      it('uses the exception filter that was bound last', async () => {
        const catchAll = { provide: APP_FILTER, useClass: CatchAllFilter };
        expect(await answerOf([catchAll, ours])).toBe(404);
        expect(await answerOf([ours, catchAll])).toBe(418);
        expect(await answerOf([ours], (app) => app.useGlobalFilters(new CatchAllFilter()))).toBe(418);
      });

      it('maps a failed call to its HTTP status even if a later filter catches HttpException', async () => {
        expect(await answerOf([ours, { provide: APP_FILTER, useClass: HttpFilter }])).toBe(404);
      });
    });

    it('responds to an outage with 503 and Retry-After, reveals no address, and logs no failed call', async () => {
      const settings = { methods: { '*': { waitForReady: false } } };
      const unreachable = await startGateway({ upstream: '127.0.0.1:1', settings, ...(adapter && { adapter }) });
      const answers = await Promise.all(Array.from({ length: 5 }, () => unreachable.get('promise/7')));
      await unreachable.close();
      for (const { status, body, headers } of answers) {
        expect(status).toBe(503);
        expect(body).toEqual({ statusCode: 503, message: 'Service Unavailable', code: 'UNAVAILABLE' });
        expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      }
      expect(unreachable.log.lines.filter(({ text }) => text.includes('; the caller received '))).toEqual([]);
    });
  });
}
