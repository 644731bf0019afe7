import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  type ServerOptions,
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
import type { DurableCounts } from './durable-counts.js';
import type { OrderLog } from './order-log.js';
import { pourLog } from './pour-log.js';
import { nextRefusal } from './refusal.js';
import { evenDraws, nextReadMs, type Work } from './work.js';

/** The key by which callers say who they are, so that requests are counted for each. */
export const CONTENDER_KEY = 'x-contender';

/** What a server of orders works with. */
export interface OrdersServerParts {
  readonly log: OrderLog;
  /** Counts requests by who sent them. */
  readonly requests: DurableCounts;
  /** Counts connections by whose requests came over them. */
  readonly connections: DurableCounts;
  /** Asked for each request. */
  readonly work: () => Work;
  readonly options?: ServerOptions | undefined;
}

/** A plain grpc-js server of `orders.v1.Orders` over a log. It knows nothing of clients that try again. */
export function createOrdersServer({ log, requests, connections, work, options = {} }: OrdersServerParts): Server {
  const seen = new Set<string>();
  const tails = new Map<string, () => number>();
  const count = (call: { readonly metadata: Metadata; getPeer(): string }): string => {
    const sender = String(call.metadata.get(CONTENDER_KEY)[0] ?? 'unnamed');
    requests.add(sender);
    const connection = `${sender} ${call.getPeer()}`;
    if (!seen.has(connection)) {
      seen.add(connection);
      connections.add(sender);
    }
    return sender;
  };
  const nextTail = (sender: string): number => {
    const draw = tails.get(sender) ?? evenDraws();
    tails.set(sender, draw);
    return draw();
  };

  const get: handleUnaryCall<GetOrderRequest, Order> = (call, answer) => {
    const sender = count(call);
    const now = work();
    if (now.overloaded) return answer(nextRefusal(Math.random));
    setTimeout(
      () => {
        const order = log.get(call.request.id);
        if (order) answer(null, order);
        else answer({ code: status.NOT_FOUND, details: `no order ${call.request.id}` });
      },
      nextReadMs(now, nextTail(sender), Math.random()),
    );
  };

  // A write is applied in the middle of its time, as in a database that commits and then replicates: a connection lost
  // during it leaves the caller not knowing, and that is the truth of every write.
  const create: handleUnaryCall<CreateOrderRequest, Order> = (call, answer) => {
    count(call);
    const { overloaded, writeMs } = work();
    if (overloaded) return answer(nextRefusal(Math.random));
    setTimeout(() => {
      const order = log.append(call.request);
      setTimeout(() => answer(null, order), writeMs / 2);
    }, writeMs / 2);
  };

  const watch: handleServerStreamingCall<WatchRequest, OrderEvent> = (call) => {
    count(call);
    const letGo = pourLog(log, BigInt(call.request.from), call);
    call.on('cancelled', letGo);
    call.on('close', letGo);
  };

  const session: handleBidiStreamingCall<SessionRequest, SessionReply> = (call) => {
    count(call);
    const onMessage = ({ messageId, order }: SessionRequest): void => {
      if (order) call.write({ messageId, sequence: log.append(order).sequence });
    };
    const end = (): void => {
      call.off('data', onMessage);
      call.end();
    };
    call.on('data', onMessage);
    // What still comes is neither applied nor acknowledged.
    const following = log.appended$.subscribe({ complete: end });
    call.on('end', end);
    call.on('close', () => following.unsubscribe());
    call.on('cancelled', () => following.unsubscribe());
  };

  const upload: handleClientStreamingCall<CreateOrderRequest, UploadReply> = (call, answer) => {
    count(call);
    let received = 0;
    let lastSequence = '0';
    call.on('data', (request: CreateOrderRequest) => {
      received += 1;
      lastSequence = log.append(request).sequence;
    });
    call.on('end', () => answer(null, { count: received, lastSequence }));
  };

  const server = new Server(options);
  server.addService(ordersDefinition(), { get, create, watch, session, upload });
  return server;
}

function ordersDefinition(): ServiceDefinition {
  const { protoPath, loader } = ORDERS_CONTRACT;
  // True: the name is that of a service in our own proto.
  return loadSync(protoPath, loader)['orders.v1.Orders'] as ServiceDefinition;
}
