// The service, with a handler for each situation. It reports to its parent when a handler waits for the caller, and when it has ended.
import { once, type EventEmitter } from 'node:events';
import { Controller, Inject, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod, Payload, RpcException, Transport, type ClientGrpc } from '@nestjs/microservices';
import { NEVER, concat, finalize, firstValueFrom, map, of, reduce, tap, throwError, type Observable } from 'rxjs';
import { CONTRACT, clientsModule, endWith, isResilient } from './clients.js';

interface Message {
  readonly text: string;
}
interface Situations {
  inner(request: Message): Observable<Message>;
}

const S = 'Situations';
const CALLS_AT_ONCE = 5;
const report = (event: string) => () => void process.send?.(event);
const error = (code: number, message: string, metadata?: unknown) => new RpcException({ code, message, metadata });
const outOfStock = () => error(5, 'out of stock');
const failed = () => throwError(outOfStock);

@Controller()
class SituationsController {
  private retried = 0;
  private readonly arrived: (() => void)[] = [];

  constructor(@Inject('situations') private readonly client: ClientGrpc) {}

  @GrpcMethod(S, 'Ok') ok(request: Message) {
    return request;
  }

  @GrpcMethod(S, 'Error') error() {
    return failed();
  }

  @GrpcMethod(S, 'Throw') throw() {
    throw new Error('broken');
  }

  @GrpcMethod(S, 'Deadline') async deadline(request: Message, _metadata: unknown, call: EventEmitter) {
    await once(call, 'cancelled');
    report('ended Deadline')();
    return request;
  }

  @GrpcMethod(S, 'Cancel') async cancel(request: Message, _metadata: unknown, call: EventEmitter) {
    report('waiting Cancel')();
    await once(call, 'cancelled');
    report('ended Cancel')();
    return request;
  }

  @GrpcMethod(S, 'Retry') retry(request: Message) {
    this.retried += 1;
    return this.retried === 1 ? throwError(() => error(14, 'try again')) : request;
  }

  @GrpcMethod(S, 'ServerStreamOk') serverStreamOk(request: Message) {
    return of(request, request);
  }

  @GrpcMethod(S, 'ServerStreamError') serverStreamError(request: Message) {
    return concat(of(request), failed());
  }

  @GrpcMethod(S, 'ServerStreamCancel') serverStreamCancel(request: Message) {
    return concat(of(request), NEVER).pipe(finalize(report('ended ServerStreamCancel')));
  }

  @GrpcStreamMethod(S, 'ClientStreamOk') clientStreamOk(requests: Observable<Message>) {
    return requests.pipe(
      reduce((count) => count + 1, 0),
      map((count) => ({ text: String(count) })),
    );
  }

  @GrpcStreamMethod(S, 'ClientStreamError') clientStreamError(requests: Observable<Message>) {
    return this.clientStreamOk(requests).pipe(tap(() => this.fail()));
  }

  @GrpcStreamMethod(S, 'ClientStreamCancel') clientStreamCancel(requests: Observable<Message>) {
    // node:http2 may complete the requests of a cancelled stream before it resets the stream; the handler then has no response yet.
    return this.clientStreamOk(concat(requests.pipe(tap(report('waiting ClientStreamCancel'))), NEVER)).pipe(
      finalize(report('ended ClientStreamCancel')),
    );
  }

  @GrpcStreamMethod(S, 'BidiOk') bidiOk(requests: Observable<Message>) {
    return requests;
  }

  @GrpcStreamMethod(S, 'BidiError') bidiError(requests: Observable<Message>) {
    return requests.pipe(tap(({ text }) => text === 'last' && this.fail()));
  }

  @GrpcStreamMethod(S, 'BidiCancel') bidiCancel(requests: Observable<Message>) {
    return requests.pipe(finalize(report('ended BidiCancel')));
  }

  @GrpcMethod(S, 'Nested') nested(request: Message) {
    return firstValueFrom(this.client.getService<Situations>(S).inner(request));
  }

  @GrpcMethod(S, 'Inner') inner(request: Message) {
    return request;
  }

  @GrpcMethod(S, 'Trailers') trailers(request: Message, _metadata: unknown, trailers: unknown) {
    // Nest's server sends no trailers, and passes its call.
    if (isResilient('SERVER')) (trailers as Map<string, string>).set('total', '3');
    return request;
  }

  @GrpcMethod(S, 'ErrorMetadata') async errorMetadata() {
    const { Metadata } = await import('@grpc/grpc-js');
    const metadata = new Metadata();
    metadata.set('cause', 'flood');
    throw error(9, 'out of stock', metadata);
  }

  @GrpcMethod(S, 'Compressed') compressed(request: Message) {
    return request;
  }

  @GrpcMethod(S, 'ByServiceName') byServiceName(request: Message) {
    return request;
  }

  @GrpcMethod(S, 'Concurrent') async concurrent(request: Message) {
    await new Promise<void>((resolve) => {
      this.arrived.push(resolve);
      if (this.arrived.length === CALLS_AT_ONCE) for (const release of this.arrived) release();
    });
    return request;
  }

  private fail(): never {
    throw outOfStock();
  }
}

async function createService() {
  const clients = await clientsModule();
  const options = { ...CONTRACT, url: `127.0.0.1:${process.env['GRPC_PORT']}` };
  const logger = ['error', 'warn'] as ('error' | 'warn')[];
  if (!isResilient('SERVER')) {
    Module({ imports: [clients], controllers: [SituationsController] })(ServiceModule);
    return NestFactory.createMicroservice(ServiceModule, { logger, transport: Transport.GRPC, options });
  }
  const { CallTrailers, ResilientGrpcServer, ResilientGrpcServerModule } = await import('nestjs-resilient-grpc/server');
  Payload()(SituationsController.prototype, 'trailers', 0);
  CallTrailers()(SituationsController.prototype, 'trailers', 2);
  Module({ imports: [clients, ResilientGrpcServerModule.forRoot(options)], controllers: [SituationsController] })(
    ServiceModule,
  );
  return NestFactory.createMicroservice(ServiceModule, {
    logger,
    inject: [ResilientGrpcServer],
    useFactory: (strategy: object) => ({ strategy }),
  });
}

class ServiceModule {}
void createService().then(async (service) => {
  await service.listen();
  service.enableShutdownHooks();
  endWith(() => service.close());
  report('ready')();
});
