import { Metadata, status, type ServerWritableStream, type StatusObject } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { Observable, Subject, type Observer } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { serveOrders } from './orders-service.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

type Call = ServerWritableStream<unknown, unknown>;
/** What the Observable of a handler, or the handler on its call, does. */
type Step = (observer: Observer<unknown>, call: Call) => void;

const row = (sequence: number) => ({ sequence: String(sequence), order: { id: 'x'.repeat(1_000) } });
const emit =
  (from: number, to: number): Step =>
  (observer) => {
    for (let sequence = from; sequence <= to; sequence++) observer.next(row(sequence));
  };
const complete: Step = (observer) => {
  observer.complete();
};
const endCall: Step = (_observer, call) => {
  const trailers = new Metadata();
  trailers.set('x-count', '2');
  call.end(trailers);
};
const failCall: Step = (_observer, call) => call.emit('error', { code: status.NOT_FOUND, details: 'no such order' });
const write: Step = (_observer, call) => call.write(row(2));
const two = emit(1, 2);

/** Each with what Nest sends: the number of messages, the code, and the trailer. */
const CASES: Readonly<Record<string, readonly [readonly Step[], number, status, string[]]>> = {
  'ends the call with trailers': [[two, endCall], 2, status.OK, ['2']],
  'ends the call, then completes': [[two, endCall, complete], 2, status.OK, ['2']],
  'completes, then ends the call': [[two, complete, endCall], 2, status.OK, ['2']],
  'ends the call with messages that wait': [[emit(1, 1_000), endCall], 1_000, status.OK, ['2']],
  'fails the call': [[two, failCall], 2, status.NOT_FOUND, []],
  'completes, then fails the call': [[two, complete, failCall], 2, status.NOT_FOUND, []],
  'writes to the call between two messages': [[emit(1, 1), write, emit(3, 3), complete], 3, status.OK, []],
  'emits a message after the end': [[two, endCall, emit(1, 1)], 2, status.OK, ['2']],
};

describe.each(['socket', 'grpc-js'] as const)('Observable of a handler that uses its call, on %s', (transport) => {
  describe.each(['during the subscription', 'later'] as const)('%s', (when) => {
    it.each(Object.entries(CASES))('sends everything, in order, if it %s', async (_what, [steps, count, code, md]) => {
      const produce: Step = (observer, call) => {
        for (const step of steps) step(observer, call);
      };
      @Controller()
      class OrdersController {
        @GrpcMethod('Orders', 'Watch')
        watch(_request: object, _metadata: Metadata, call: Call): Observable<unknown> {
          if (when !== 'later') {
            return new Observable((observer) => {
              produce(observer, call);
            });
          }
          const subject = new Subject<unknown>();
          setImmediate(() => {
            produce(subject, call);
          });
          return subject;
        }
      }
      const orders = await serveOrders(OrdersController, { transport });
      try {
        const stream = orders.client.watch({ from: '0' });
        const got: string[] = [];
        stream.on('data', ({ sequence }) => got.push(sequence)).on('error', () => undefined);
        const ended = new Promise((resolve) => stream.on('end', resolve));
        const end = await new Promise<StatusObject>((resolve) => stream.on('status', resolve));
        await ended;
        expect(got).toEqual(Array.from({ length: count }, (_, index) => String(index + 1)));
        expect([end.code, end.metadata.get('x-count')]).toEqual([code, md]);
      } finally {
        await orders.close();
      }
    });
  });
});
