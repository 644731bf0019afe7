// The gateway. Each of its routes makes the call of a situation, and returns what the application sees of it.
import { Controller, Get, Inject, Module, Param } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { ClientGrpc } from '@nestjs/microservices';
import { Observable, NEVER, Subject, concat, filter, from, lastValueFrom, of, take, takeUntil, toArray } from 'rxjs';
import { clientsModule, endWith } from './clients.js';

interface Message {
  readonly text: string;
}
type Method = (request: unknown, ...more: unknown[]) => Observable<Message>;
type Callback = (error: unknown, value?: Message) => void;
type GrpcJsMethod = (
  request: Message,
  callback: Callback,
) => { on(event: 'status', listener: (status: Status) => void): void };
interface Status {
  readonly code: number;
  readonly details: string;
  readonly metadata: { get(key: string): unknown[] };
}

const ONE = { text: 'first' };
const REQUESTS = [ONE, { text: 'last' }];
const DEADLINE_MS = 300;
/** Emits the names of methods whose handlers wait for the caller. */
const waiting = new Subject<string>();
process.on('message', (message) => waiting.next(String(message)));

@Controller()
class GatewayController {
  constructor(
    @Inject('situations') private readonly situations: ClientGrpc,
    @Inject('compressed') private readonly compressed: ClientGrpc,
    @Inject('unreachable') private readonly unreachable: ClientGrpc,
  ) {}

  @Get(':situation') async get(@Param('situation') situation: string) {
    try {
      const values = await lastValueFrom((await this.call(situation)).pipe(toArray()));
      return { code: 0, values: values.map(({ text }) => text.slice(0, 9)) };
    } catch (error) {
      const { code, details, metadata } = error as Status;
      return { code, details, cause: metadata.get('cause') };
    }
  }

  private async call(situation: string): Promise<Observable<Message>> {
    const client =
      situation === 'Unreachable' ? this.unreachable : situation === 'Compressed' ? this.compressed : this.situations;
    const method = client.getService<Record<string, Method>>('Situations')[situation];
    if (method === undefined) throw new Error(`unknown situation '${situation}'`);
    const cancelled = waiting.pipe(filter((one) => one === `waiting ${situation}`));
    switch (situation) {
      case 'Deadline': {
        const { Metadata } = await import('@grpc/grpc-js');
        return method(ONE, new Metadata(), { deadline: Date.now() + DEADLINE_MS });
      }
      case 'Cancel':
        return method(ONE).pipe(takeUntil(cancelled));
      case 'ServerStreamCancel':
        return method(ONE).pipe(take(1));
      case 'ClientStreamOk':
      case 'ClientStreamError':
      case 'BidiOk':
      case 'BidiError':
        return method(from(REQUESTS));
      case 'ClientStreamCancel':
        return method(concat(of(ONE), NEVER)).pipe(takeUntil(cancelled));
      case 'BidiCancel':
        return method(concat(of(ONE), NEVER)).pipe(take(1));
      case 'Compressed':
        return method({ text: 'compress'.repeat(50_000) });
      case 'Trailers':
      case 'ByServiceName':
        return this.callByServiceName(situation);
      default:
        return method(ONE);
    }
  }

  /** Emits the response, then the trailers, if there are any. */
  private callByServiceName(situation: string): Observable<Message> {
    return new Observable((observer) => {
      const client = this.situations.getClientByServiceName<Record<string, GrpcJsMethod>>('Situations');
      const call = client[situation]?.(ONE, (error, value) => {
        if (value === undefined) observer.error(error);
        else observer.next(value);
      });
      call?.on('status', ({ metadata }) => {
        for (const text of metadata.get('total')) observer.next({ text: String(text) });
        observer.complete();
      });
    });
  }
}

class GatewayModule {}
void clientsModule().then(async (clients) => {
  Module({ imports: [clients], controllers: [GatewayController] })(GatewayModule);
  const gateway = await NestFactory.create(GatewayModule, { logger: ['error', 'warn'] });
  await gateway.listen(0, '127.0.0.1');
  gateway.enableShutdownHooks();
  endWith(() => gateway.close());
  process.send?.(await gateway.getUrl());
});
