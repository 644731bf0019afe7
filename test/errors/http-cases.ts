import {
  Catch,
  HttpException,
  type ArgumentsHost,
  type ExceptionFilter,
  type INestApplication,
  type Provider,
} from '@nestjs/common';
import { APP_FILTER, type AbstractHttpAdapter } from '@nestjs/core';
import { GrpcToHttpExceptionFilter } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { GrpcException } from 'nestjs-resilient-grpc/server';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ORDERS_PROTO } from '../nest/places.js';
import { startGateway, WHOLE, type Gateway } from './gateway.js';

const SECRET = 'table customers_eu of db-7.internal, key hush';

/** Trailers with which a server attaches details to an error. */
export const detailed = (...[code, message, options]: ConstructorParameters<typeof GrpcException>) => {
  const { metadata } = new GrpcException(code, message, options);
  return Object.fromEntries(Object.entries(metadata.getMap()));
};

/** A filter of one's own, under either HTTP server. */
class Own implements ExceptionFilter {
  catch(_exception: unknown, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<{ status(code: number): { send(body: object): void } }>();
    response.status(418).send({});
  }
}

@Catch()
class OfAll extends Own {}

@Catch(HttpException)
class OfHttp extends Own {}

/** What a gateway answers when calls fail, under the HTTP server of `adapter`. */
export function describeGateway(name: string, adapter?: () => AbstractHttpAdapter): void {
  describe(`a call that fails, to HTTP under ${name}`, () => {
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
      // The server's word: nobody here has gone.
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
    ])('%s is %i, in the usual words: the upstream’s are not for whoever asked', async (code, status, message) => {
      server.script('Create', { status: code as 'INTERNAL', details: SECRET, trailers: { 'x-secret': 'hush' } });
      const { body, ...answer } = await gateway.ask('observable/7');
      expect(answer.status).toBe(status);
      expect(body).toEqual({ statusCode: status, message, code });
      expect(JSON.stringify([body, [...answer.headers]])).not.toMatch(/hush|customers/);
      // What was not told is in the log.
      const told = lines().filter(({ text }) => text.includes(`${code}: table customers_eu`));
      expect(told.map(({ level, text }) => [level, text.slice(0, 13)])).toEqual([
        [status === 500 ? 'error' : 'warn', `answered ${status},`],
      ]);
    });

    it.each<[code: string, status: number, error: string]>([
      ['INVALID_ARGUMENT', 400, 'Bad Request'],
      ['NOT_FOUND', 404, 'Not Found'],
      ['ALREADY_EXISTS', 409, 'Conflict'],
      ['FAILED_PRECONDITION', 400, 'Bad Request'],
      ['OUT_OF_RANGE', 400, 'Bad Request'],
    ])('%s is %i, in the upstream’s words, which are about the request', async (code, status, error) => {
      server.script('Create', { status: code as 'INTERNAL', details: 'no order №7' });
      for (const path of ['observable/7', 'promise/7']) {
        const { body, ...answer } = await gateway.ask(path);
        expect(answer.status).toBe(status);
        expect(body).toEqual({ statusCode: status, message: 'no order №7', error, code });
      }
      expect(lines()).toEqual([]);
    });

    it('names the fields that are wrong, and nothing else of the details', async () => {
      const violation = { field: 'items[0].quantity', description: 'too few' };
      const trailers = detailed('INVALID_ARGUMENT', 'wrong', {
        details: [
          { typeUrl: 'google.rpc.DebugInfo', value: { detail: SECRET } },
          { typeUrl: 'google.rpc.BadRequest', value: { fieldViolations: [{ ...violation, reason: 'hush' }] } },
        ],
      });
      server.script('Create', { status: 'INVALID_ARGUMENT', details: 'wrong', trailers });
      const { body } = await gateway.ask('promise/7');
      expect(body).toMatchObject({ statusCode: 400, message: 'wrong', fieldViolations: [violation] });
      expect(JSON.stringify(body)).not.toContain('hush');
    });

    it.each([
      ['UNAVAILABLE', 503, 1_001, '2'],
      ['RESOURCE_EXHAUSTED', 429, 30_000, '30'],
      ['UNAVAILABLE', 503, 0, '0'],
      ['NOT_FOUND', 404, 5_000, null],
      ['INTERNAL', 500, 5_000, null],
    ] as const)(
      '%s says when to come again, in whole seconds, where HTTP knows that: %i',
      async (code, status, retryAfterMs, header) => {
        server.script('Create', { status: code, details: 'x', trailers: detailed(code, 'x', { retryAfterMs }) });
        const answer = await gateway.ask('promise/7');
        expect(answer.status).toBe(status);
        expect(answer.headers.get('retry-after')).toBe(header);
      },
    );

    it('is mapped out of streams too, iterated, subscribed to or resumed', async () => {
      server.script('Watch', [{ messages: [{ sequence: '1' }], status: 'NOT_FOUND', details: 'no such feed' }]);
      for (const path of ['iterated', 'resumed']) {
        const { status, body } = await gateway.ask(path);
        expect([path, status]).toEqual([path, 404]);
        expect(body).toMatchObject({ message: 'no such feed', code: 'NOT_FOUND' });
      }
    });

    it('is that of the last call where a stream is given up', async () => {
      server.script('Watch', { status: 'NOT_FOUND', details: 'no such feed' });
      const { status, body } = await gateway.ask('given-up');
      expect([status, body]).toEqual([404, expect.objectContaining({ message: 'no such feed', code: 'NOT_FOUND' })]);
      expect(server.counts('Watch').calls).toBe(5);
    });

    it('inside an error of one’s own is what Nest makes of that', async () => {
      server.script('Create', { status: 'NOT_FOUND', details: 'no order' });
      const { status, body } = await gateway.ask('wrapped/7');
      expect(status).toBe(500);
      expect(body).toEqual({ statusCode: 500, message: 'Internal server error' });
    });

    it('after the status is out breaks the body off, so that it does not pass for a whole one', async () => {
      server.script('Create', { status: 'INTERNAL', details: SECRET });
      const answer = await fetch(`${gateway.url}/begun/7`);
      expect(answer.status).toBe(200);
      await expect(answer.text()).rejects.toThrow();
      // And it lives on.
      expect((await gateway.ask('promise/7')).status).toBe(500);
    });

    it('after the answer is given takes nothing of it away', async () => {
      server.script('Create', { status: 'INTERNAL', details: SECRET });
      const answer = await fetch(`${gateway.url}/given/7`);
      expect(await answer.text()).toHaveLength(WHOLE);
    });

    it.each([
      ['INTERNAL', 500, SECRET, 'Internal server error'],
      ['NOT_FOUND', 404, 'no such feed', 'no such feed'],
    ] as const)(
      'before the first byte of a download is answered, where that has a handler: %s is %i',
      async (code, status, details, message) => {
        server.script('Watch', { status: code, details });
        const answer = await fetch(`${gateway.url}/download`);
        expect(answer.status).toBe(status);
        // Express has the handler's text, Fastify the filter's body.
        const text = await answer.text();
        expect(text).toContain(message);
        expect(text).not.toContain('hush');
      },
    );

    it('amid a download breaks it off', async () => {
      server.script('Watch', { messages: [{ sequence: '1' }], status: 'INTERNAL', details: SECRET });
      await expect(fetch(`${gateway.url}/download`).then((answer) => answer.text())).rejects.toThrow();
    });

    it.each([0, 1])(
      'within server-sent events, after %i of them, is what toHttpException makes of it',
      async (sent) => {
        server.script('Watch', { hold: 'everything', status: 'INTERNAL', details: SECRET });
        // The headers are out, with the first event or without.
        const answer = await fetch(`${gateway.url}/events/${sent}`);
        expect(answer.status).toBe(200);
        await expect.poll(() => server.release(), { timeout: 20_000 }).toBe(1);
        const text = await answer.text();
        expect(text).toContain(`event: error\nid: ${sent + 1}\ndata: Internal server error`);
        expect(text).not.toContain('hush');
      },
    );

    it('leaves one line a minute for each method and code that were the fault of a server', async () => {
      server.script('Create', { status: 'INTERNAL', details: 'no table\nFAKE' });
      await Promise.all(Array.from({ length: 20 }, () => gateway.ask('promise/7')));
      // Of the tests before there was one, too.
      expect(lines().length).toBeLessThanOrEqual(1);
      server.script('Watch', { status: 'DATA_LOSS', details: 'no table\nFAKE' });
      await Promise.all(Array.from({ length: 20 }, () => gateway.ask('iterated')));
      const told = lines().filter(({ text }) => text.includes('/Watch'));
      expect(told.map(({ level, context }) => [level, context])).toEqual([['error', 'ResilientGrpc']]);
      expect(told[0]!.text).toMatch(
        /^answered 500, as orders \/orders\.v1\.Orders\/Watch at 127\.0\.0\.1:\d+ failed: DATA_LOSS: no table\\u000aFAKE \(server, reached the server: yes\)$/,
      );
    });

    it('is told with its count at the end, where it came again within the minute', async () => {
      const other = await startGateway({ upstream: server.url, ...(adapter && { adapter }) });
      server.script('Create', { status: 'INTERNAL', details: SECRET });
      for (let i = 0; i < 3; i++) await other.ask('promise/7');
      await other.close();
      const told = other.log.lines.map(({ text }) => text).filter((text) => text.startsWith('answered 500'));
      expect(told).toEqual([told[0], `${told[0]!} (2 more in the last minute)`]);
    });

    describe('where other filters are bound too', () => {
      const answerOf = async (providers: readonly Provider[], prepare?: (app: INestApplication) => void) => {
        const parts = { upstream: server.url, providers, ...(adapter && { adapter }), ...(prepare && { prepare }) };
        const other = await startGateway(parts);
        server.script('Create', { status: 'NOT_FOUND', details: 'no order' });
        const { status } = await other.ask('promise/7');
        await other.close();
        return status;
      };
      const ours = { provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter };

      it('is answered by the one that was bound last', async () => {
        const ofAll = { provide: APP_FILTER, useClass: OfAll };
        expect(await answerOf([ofAll, ours])).toBe(404);
        expect(await answerOf([ours, ofAll])).toBe(418);
        expect(await answerOf([ours], (app) => app.useGlobalFilters(new OfAll()))).toBe(418);
      });

      it('does not pass one for HttpException', async () => {
        expect(await answerOf([ours, { provide: APP_FILTER, useClass: OfHttp }])).toBe(404);
      });
    });

    it('of an outage is 503 without an address, and with the time of the next try', async () => {
      const settings = { methods: { '*': { waitForReady: false } } };
      const away = await startGateway({ upstream: '127.0.0.1:1', settings, ...(adapter && { adapter }) });
      const answers = await Promise.all(Array.from({ length: 5 }, () => away.ask('promise/7')));
      await away.close();
      for (const { status, body, headers } of answers) {
        expect(status).toBe(503);
        expect(body).toEqual({ statusCode: 503, message: 'Service Unavailable', code: 'UNAVAILABLE' });
        expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      }
      expect(away.log.lines.filter(({ text }) => text.startsWith('answered'))).toEqual([]);
    });
  });
}
