import 'reflect-metadata';
import type { Metadata } from '@grpc/grpc-js';
import {
  Controller,
  Injectable,
  UseInterceptors,
  type CallHandler,
  type ExecutionContext,
  type INestMicroservice,
  type NestInterceptor,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod, Payload, type AsyncMicroserviceOptions } from '@nestjs/microservices';
import {
  CallTrailers,
  GrpcException,
  ResilientGrpcServer,
  ResilientGrpcServerModule,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import { count, defer, finalize, map, range, Subject, switchMap, take, throwError, type Observable } from 'rxjs';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';

/** Detail of the status for `x-status`. */
const DETAIL = { typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value: { reason: 'NO_ORDER', domain: 'shop' } };
/** Trailers of unary calls. */
export const TRAILERS = { 'x-trailer': 'last', 'x-trailer-bin': Buffer.from([0, 255, 44]) };

/** Does what the metadata of a request ask for: see `PeerKind`. `x-wait` delays a response until `release()`. */
@Injectable()
class AsAsked implements NestInterceptor {
  /** Number of calls that have waited, and that wait. */
  arrived = 0;
  waiting = 0;
  readonly released = new Subject<void>();

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const [, metadata, call] = context.getArgs<[unknown, Metadata, { sendMetadata(headers: Metadata): void }]>();
    const echoed = metadata.clone();
    for (const name of Object.keys(echoed.getMap())) if (!name.startsWith('x-echo')) echoed.remove(name);
    if (metadata.get('x-status').length > 0) {
      const options = { metadata: echoed, statusDetails: [DETAIL] };
      return throwError(() => new GrpcException('NOT_FOUND', 'no such é', options));
    }
    call.sendMetadata(echoed);
    if (metadata.get('x-wait').length === 0) return next.handle();
    return defer(() => {
      this.arrived += 1;
      this.waiting += 1;
      return this.released.pipe(
        take(1),
        switchMap(() => next.handle()),
        finalize(() => (this.waiting -= 1)),
      );
    });
  }
}

@Controller()
@UseInterceptors(AsAsked)
class EchoController {
  @GrpcMethod('Echo', 'Unary')
  unary(@Payload() message: Echo, @CallTrailers() trailers: Metadata): Echo {
    for (const [name, value] of Object.entries(TRAILERS)) trailers.set(name, value);
    return message;
  }

  @GrpcMethod('Echo', 'UnsafeUnary')
  unsafeUnary(message: Echo): Echo {
    return message;
  }

  @GrpcStreamMethod('Echo', 'ClientStream')
  clientStream(messages: Observable<Echo>): Observable<EchoRequest> {
    return messages.pipe(
      count(),
      map((number) => ({ number })),
    );
  }

  @GrpcMethod('Echo', 'ServerStream')
  serverStream({ number }: Echo): Observable<EchoRequest> {
    return range(1, number).pipe(map((at) => ({ number: at })));
  }

  @GrpcStreamMethod('Echo', 'Bidi')
  bidi(messages: Observable<Echo>): Observable<Echo> {
    return messages;
  }
}

/** A Nest application that serves testing.v1.Echo with the library's server. */
export class EchoApp {
  private constructor(private readonly app: INestMicroservice) {}

  static async start(options: Partial<ResilientGrpcServerOptions>): Promise<EchoApp> {
    const app = await NestFactory.createMicroservice<AsyncMicroserviceOptions>(
      {
        module: class EchoModule {},
        imports: [
          ResilientGrpcServerModule.forRoot({
            package: 'testing.v1',
            protoPath: ECHO_PROTO,
            onDrain: 'finish',
            drain: { timeoutMs: 60_000 },
            ...options,
          }),
        ],
        controllers: [EchoController],
      },
      {
        inject: [ResilientGrpcServer],
        useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
        logger: false,
        abortOnError: false,
      },
    );
    await app.listen();
    return new EchoApp(app);
  }

  get port(): number {
    return this.app.get(ResilientGrpcServer).port ?? 0;
  }

  /** Number of calls with `x-wait` so far. */
  get arrived(): number {
    return this.app.get(AsAsked).arrived;
  }

  /** Number of calls that wait because of `x-wait`. */
  get waiting(): number {
    return this.app.get(AsAsked).waiting;
  }

  /** Lets all waiting calls continue. */
  release(): void {
    this.app.get(AsAsked).released.next();
  }

  close(): Promise<void> {
    return this.app.close();
  }
}
