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
type Produce = (observer: Observer<unknown>, call: Call) => void;

const row = (sequence: number) => ({ sequence: String(sequence), order: { id: 'x'.repeat(1_000) } });
const rows = (observer: Observer<unknown>, count: number) => {
  for (let sequence = 1; sequence <= count; sequence++) observer.next(row(sequence));
};
const trailers = () => {
  const metadata = new Metadata();
  metadata.set('x-count', '2');
  return metadata;
};
const notFound = (call: Call) => call.emit('error', { code: status.NOT_FOUND, details: 'no such order' });

/** Each with what Nest sends: the number of messages, the code, and the trailer. */
const CASES: Readonly<Record<string, readonly [Produce, number, status, string[]]>> = {
  'ends the call with trailers': [
    (o, call) => {
      rows(o, 2);
      call.end(trailers());
    },
    2,
    status.OK,
    ['2'],
  ],
  'ends the call, then completes': [
    (o, call) => {
      rows(o, 2);
      call.end(trailers());
      o.complete();
    },
    2,
    status.OK,
    ['2'],
  ],
  'completes, then ends the call': [
    (o, call) => {
      rows(o, 2);
      o.complete();
      call.end(trailers());
    },
    2,
    status.OK,
    ['2'],
  ],
  'ends the call with messages that wait': [
    (o, call) => {
      rows(o, 1_000);
      call.end(trailers());
    },
    1_000,
    status.OK,
    ['2'],
  ],
  'fails the call': [
    (o, call) => {
      rows(o, 2);
      notFound(call);
    },
    2,
    status.NOT_FOUND,
    [],
  ],
  'completes, then fails the call': [
    (o, call) => {
      rows(o, 2);
      o.complete();
      notFound(call);
    },
    2,
    status.NOT_FOUND,
    [],
  ],
  'writes to the call between two messages': [
    (o, call) => {
      rows(o, 1);
      call.write(row(2));
      o.next(row(3));
      o.complete();
    },
    3,
    status.OK,
    [],
  ],
  'emits a message after the end': [
    (o, call) => {
      rows(o, 2);
      call.end(trailers());
      rows(o, 1);
    },
    2,
    status.OK,
    ['2'],
  ],
};

describe.each(['socket', 'grpc-js'] as const)('Observable of a handler that uses its call, on %s', (transport) => {
  describe.each(['during the subscription', 'later'] as const)('%s', (when) => {
    it.each(Object.entries(CASES))(
      'sends everything, in order, if it %s',
      async (_what, [produce, count, code, md]) => {
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
      },
    );
  });
});
