import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type {
  CreateOrderRequest,
  GetOrderRequest,
  Order,
  OrderEvent,
  SessionReply,
  SessionRequest,
  UploadReply,
  WatchRequest,
} from '../gen/orders.pb.js';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import type { OrderLog } from './order-log.js';
import { nextRefusal } from './refusal.js';
import type { RequestCounts } from './request-counts.js';
import { nextReadMs, type Work } from './work.js';

/** The key by which callers say who they are, so that requests are counted for each. */
export const CONTENDER_KEY = 'x-contender';

/**
 * A plain grpc-js server of `orders.v1.Orders` over a log. It knows nothing of clients that try again. `work` is asked for each
 * request.
 */
export function createOrdersServer(log: OrderLog, counts: RequestCounts, work: () => Work): Server {
  const count = (metadata: Metadata): void => counts.add(String(metadata.get(CONTENDER_KEY)[0] ?? 'unnamed'));

  const get: handleUnaryCall<GetOrderRequest, Order> = (call, answer) => {
    count(call.metadata);
    const now = work();
    if (now.overloaded) return answer(nextRefusal(Math.random));
    setTimeout(
      () => {
        const order = log.get(call.request.id);
        if (order) answer(null, order);
        else answer({ code: status.NOT_FOUND, details: `no order ${call.request.id}` });
      },
      nextReadMs(now, Math.random),
    );
  };

  // A write is applied in the middle of its time, as in a database that commits and then replicates: a connection lost
  // during it leaves the caller not knowing, and that is the truth of every write.
  const create: handleUnaryCall<CreateOrderRequest, Order> = (call, answer) => {
    count(call.metadata);
    const { overloaded, writeMs } = work();
    if (overloaded) return answer(nextRefusal(Math.random));
    setTimeout(() => {
      const order = log.append(call.request);
      setTimeout(() => answer(null, order), writeMs / 2);
    }, writeMs / 2);
  };

  const watch: handleServerStreamingCall<WatchRequest, OrderEvent> = (call) => {
    count(call.metadata);
    const send = (order: Order): void => void call.write({ sequence: order.sequence, order });
    for (const order of log.since(call.request.from)) send(order);
    const following = log.appended$.subscribe({ next: send, complete: () => call.end() });
    call.on('cancelled', () => following.unsubscribe());
    call.on('close', () => following.unsubscribe());
  };

  const session: handleBidiStreamingCall<SessionRequest, SessionReply> = (call) => {
    count(call.metadata);
    call.on('data', ({ messageId, order }: SessionRequest) => {
      if (order) call.write({ messageId, sequence: log.append(order).sequence });
    });
    call.on('end', () => call.end());
  };

  const upload: handleClientStreamingCall<CreateOrderRequest, UploadReply> = (call, answer) => {
    count(call.metadata);
    let received = 0;
    let lastSequence = '0';
    call.on('data', (request: CreateOrderRequest) => {
      received += 1;
      lastSequence = log.append(request).sequence;
    });
    call.on('end', () => answer(null, { count: received, lastSequence }));
  };

  const server = new Server();
  server.addService(ordersDefinition(), { get, create, watch, session, upload });
  return server;
}

function ordersDefinition(): ServiceDefinition {
  const { protoPath, loader } = ORDERS_CONTRACT;
  // True: the name is that of a service in our own proto.
  return loadSync(protoPath, loader)['orders.v1.Orders'] as ServiceDefinition;
}
