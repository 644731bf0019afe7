import {
  BadRequestException,
  Catch,
  Controller,
  Inject,
  Injectable,
  ParseIntPipe,
  Scope,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
  ValidationPipe,
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, REQUEST } from '@nestjs/core';
import { Ctx, GrpcMethod, GrpcStreamMethod, Payload, RpcException } from '@nestjs/microservices';
import { Metadata, status as Code, type ServerUnaryCall } from '@grpc/grpc-js';
import { IsInt, Min } from 'class-validator';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { count, map, Observable, of, range, tap, throwError } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { notes, numbers, type Note, type ParityClient } from './client.js';
import { KindsController } from './handlers.js';
import {
  SERVERS,
  runWithServer,
  startServer,
  type RunningServer,
  type ServerSettings,
  type ServerTest,
} from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** The actions of enhancers and handlers, earliest first. */
let actions: string[] = [];
beforeEach(() => {
  actions = [];
});

class NumberedNote {
  text!: string;

  @IsInt()
  @Min(1)
  number!: number;
}

class NotNumbered extends Error {}

@Injectable()
class NamedGuard implements CanActivate {
  canActivate(context: ExecutionContext) {
    actions.push(`guard of ${context.getType()} ${context.getClass().name}.${context.getHandler().name}`);
    const metadata = context.switchToRpc().getContext<Metadata>();
    const call = context.getArgByIndex<ServerUnaryCall<Note, Note>>(2);
    if (call.metadata !== metadata) throw new Error('another call');
    return metadata.get('name').length > 0;
  }
}

@Catch(NotNumbered)
class NotNumberedFilter implements ExceptionFilter {
  catch(exception: NotNumbered, host: ArgumentsHost): Observable<never> {
    const { text } = host.switchToRpc().getData<Note>();
    return throwError(() => ({ code: Code.FAILED_PRECONDITION, details: `${text}: ${exception.message}` }));
  }
}

@Injectable()
class DoublingInterceptor implements NestInterceptor<Partial<Note>, Partial<Note>> {
  intercept(_context: ExecutionContext, next: CallHandler<Partial<Note>>) {
    actions.push('before');
    return next.handle().pipe(
      map(({ number = 0 }) => ({ number: number * 2 })),
      tap({ complete: () => actions.push('after') }),
    );
  }
}

const invalid = (errors: { property: string }[]) =>
  new RpcException({ code: Code.INVALID_ARGUMENT, message: errors.map(({ property }) => property).join() });

/** Functions that create the exception that the handler throws, keyed by the request text. */
const THROWN: Record<string, () => unknown> = {
  'an error': () => new Error('a secret'),
  'an HTTP exception': () => new BadRequestException('a secret'),
  'an RpcException with a string': () => new RpcException('said'),
  'an RpcException with a code and a message': () =>
    new RpcException({ code: Code.NOT_FOUND, message: 'no such note' }),
  'an RpcException with a code, details, and metadata': () => {
    const metadata = new Metadata();
    metadata.set('reason', 'none');
    metadata.set('reason-bin', Buffer.from([1]));
    return new RpcException({ code: Code.ABORTED, message: 'unread', details: 'try again', metadata });
  },
  'an exception with its own filter': () => new NotNumbered('no number'),
};

@Controller()
class EnhancedController {
  @GrpcMethod('Kinds', 'Unary')
  @UseInterceptors(DoublingInterceptor)
  @UsePipes(new ValidationPipe({ transform: true, exceptionFactory: invalid }))
  @UseGuards(NamedGuard)
  @UseFilters(NotNumberedFilter)
  unary(@Payload() note: NumberedNote, @Ctx() metadata: Metadata): Partial<Note> {
    actions.push(`handler of a ${note.constructor.name} for ${metadata.get('name').join()}`);
    const thrown = THROWN[note.text];
    if (thrown !== undefined) throw thrown();
    return { number: note.number };
  }

  @GrpcMethod('Kinds', 'Watch')
  @UseFilters(NotNumberedFilter)
  watch(@Payload('number', ParseIntPipe) number: number, @Payload('text') text: string): Observable<Partial<Note>> {
    return range(1, number).pipe(
      map((at) => {
        const thrown = THROWN[text];
        if (at === 2 && thrown !== undefined) throw thrown();
        return { number: at };
      }),
    );
  }

  @GrpcStreamMethod('Kinds', 'Collect')
  collect(requests: Observable<Note>): Observable<Partial<Note>> {
    return requests.pipe(
      map(({ text }) => {
        const thrown = THROWN[text];
        if (thrown !== undefined) throw thrown();
        return {};
      }),
    );
  }

  @GrpcStreamMethod('Kinds', 'Chat')
  @UseInterceptors(DoublingInterceptor)
  chat(requests: Observable<Note>): Observable<Partial<Note>> {
    return requests.pipe(
      map(({ text, number }) => {
        const thrown = THROWN[text];
        if (thrown !== undefined) throw thrown();
        return { number };
      }),
    );
  }
}

/** A controller with a pipe that receives the parameter type `Observable` and copies the argument. */
@Controller()
class PipedController {
  @GrpcStreamMethod('Kinds', 'Collect')
  @UsePipes(new ValidationPipe())
  collect(@Payload() requests: Observable<Note>): Observable<Partial<Note>> {
    return requests.pipe(
      count(),
      map((number) => ({ number })),
    );
  }
}

const UNARY = 'parity.v1.Kinds/Unary';
const NAMED_CALL = { metadata: { name: 'Ada' } };

describe.each(SERVERS)('%s: enhancers', (serverKind) => {
  const withServer = (settings: Omit<ServerSettings, 'serverKind'>, test: ServerTest) =>
    runWithServer({ serverKind, ...settings }, test);

  describe('controller enhancers', () => {
    let server: RunningServer;
    let client: ParityClient;
    beforeAll(async () => {
      server = await startServer({ serverKind, controllers: [EnhancedController] });
      ({ client } = server);
    });
    afterAll(() => server.close());

    it("runs guards, interceptors, and pipes around the handler in Nest's order", async () => {
      expect(numbers(await client.call(UNARY, { number: 3 }, NAMED_CALL))).toEqual([6]);
      expect(actions).toEqual([
        'guard of rpc EnhancedController.unary',
        'before',
        'handler of a NumberedNote for Ada',
        'after',
      ]);
    });

    it('rejects a call if a guard returns false', async () => {
      const { status } = await client.call(UNARY, { number: 3 });
      expect(status).toMatchObject({ code: Code.UNKNOWN, details: 'Forbidden resource' });
      expect(actions).toEqual(['guard of rpc EnhancedController.unary']);
    });

    it('rejects a message with the status that a pipe creates', async () => {
      const { status } = await client.call(UNARY, { number: 0 }, NAMED_CALL);
      expect(status).toMatchObject({ code: Code.INVALID_ARGUMENT, details: 'number' });
    });

    it('lets an interceptor map each message of a stream', async () => {
      expect(numbers(await client.call('parity.v1.Kinds/Chat', notes(3)))).toEqual([2, 4, 6]);
      expect(actions).toEqual(['before', 'after']);
    });

    it('passes single properties of a message through parameter pipes', async () => {
      expect(numbers(await client.call('parity.v1.Kinds/Watch', { number: 2 }))).toEqual([1, 2]);
    });

    it('passes the requests of a stream through a ValidationPipe', async () => {
      await withServer({ controllers: [PipedController] }, async (caller) => {
        expect(numbers(await caller.call('parity.v1.Kinds/Collect', notes(3)))).toEqual([3]);
      });
    });

    const kinds = ['Unary', 'Watch', 'Collect', 'Chat'] as const;
    describe.each(kinds)('exception of a %s handler', (kind) => {
      it.each([
        ['an error', { code: Code.UNKNOWN, details: 'Internal server error' }],
        ['an HTTP exception', { code: Code.UNKNOWN, details: 'Internal server error' }],
        ['an RpcException with a string', { code: Code.UNKNOWN, details: 'said' }],
        ['an RpcException with a code and a message', { code: Code.NOT_FOUND, details: 'no such note' }],
        ['an RpcException with a code, details, and metadata', { code: Code.ABORTED, details: 'try again' }],
      ])(`sends Nest's status if a ${kind} handler throws %s`, async (text, expected) => {
        const { messages, status } = await client.call(`parity.v1.Kinds/${kind}`, { text, number: 5 }, NAMED_CALL);
        expect(numbers({ messages })).toEqual(kind === 'Watch' ? [1] : []);
        expect(status).toMatchObject(expected);
        const { metadata } = status;
        expect(metadata.get('reason')).toEqual(text.endsWith('metadata') ? ['none'] : []);
        expect(metadata.get('reason-bin')).toEqual(text.endsWith('metadata') ? [Buffer.from([1])] : []);
      });
    });

    it.each(['Unary', 'Watch'])(
      'passes the exception of a %s handler to the filter for the exception class',
      async (kind) => {
        const text = 'an exception with its own filter';
        const { status } = await client.call(`parity.v1.Kinds/${kind}`, { text, number: 3 }, NAMED_CALL);
        expect(status).toMatchObject({ code: Code.FAILED_PRECONDITION, details: `${text}: no number` });
      },
    );
  });

  it('applies enhancers that are provided for the whole application and injects their dependencies', async () => {
    @Injectable()
    class CountingInterceptor extends DoublingInterceptor {
      constructor(@Inject('first') private readonly first: number) {
        super();
      }
      override intercept(context: ExecutionContext, next: CallHandler<Partial<Note>>) {
        return super.intercept(context, next).pipe(map(({ number }) => ({ number: number + this.first })));
      }
    }
    @Catch()
    class EverythingFilter implements ExceptionFilter {
      catch(exception: Error) {
        return throwError(() => ({ code: Code.INTERNAL, details: `caught: ${exception.message}` }));
      }
    }
    @Controller()
    class PlainController {
      @GrpcMethod('Kinds', 'Unary')
      unary({ text, number }: Note) {
        if (text === 'broken') throw new Error('broken on request');
        return of({ number });
      }
    }
    const providers = [
      { provide: 'first', useValue: 100 },
      { provide: APP_INTERCEPTOR, useClass: CountingInterceptor },
      { provide: APP_GUARD, useClass: NamedGuard },
      { provide: APP_FILTER, useClass: EverythingFilter },
    ];
    // In a hybrid application, Nest applies these providers only to microservices that inherit the configuration.
    for (const startup of [{ alone: true }, { inheritAppConfig: true }]) {
      await withServer({ controllers: [PlainController], providers, ...startup }, async (client) => {
        expect(numbers(await client.call(UNARY, { number: 1 }, NAMED_CALL))).toEqual([102]);
        const broken = await client.call(UNARY, { text: 'broken' }, NAMED_CALL);
        expect(broken.status).toMatchObject({ code: Code.INTERNAL, details: 'caught: broken on request' });
        const refused = await client.call(UNARY, { number: 1 });
        expect(refused.status).toMatchObject({ code: Code.INTERNAL, details: 'caught: Forbidden resource' });
      });
    }
  });

  it.each([
    ['applies global enhancers if the server inherits the configuration of the application', true, [6]],
    ['does not apply global enhancers if the server does not inherit the configuration of the application', false, [4]],
  ])('%s', async (_title, inheritAppConfig, expected) => {
    const global: Pick<ServerSettings, 'configure'> = {
      configure: (app) => {
        app.useGlobalPipes({ transform: (value: unknown) => isNote(value) && { ...value, number: value.number + 1 } });
        app.useGlobalInterceptors(new DoublingInterceptor());
        app.useGlobalFilters(new NotNumberedFilter());
        app.useGlobalGuards(new NamedGuard());
      },
    };
    await withServer({ controllers: [KindsController], inheritAppConfig, ...global }, async (client) => {
      // The handler adds 1. If the enhancers are inherited, the pipe adds 1 to the request, and the interceptor doubles the response.
      const { messages } = await client.call(UNARY, { number: inheritAppConfig ? 1 : 3 }, NAMED_CALL);
      expect(numbers({ messages })).toEqual(expected);
      expect((await client.call(UNARY)).status.code).toBe(inheritAppConfig ? Code.UNKNOWN : Code.OK);
    });
  });

  it('creates request-scoped controllers and providers once per call', async () => {
    let made = 0;
    @Injectable({ scope: Scope.REQUEST })
    class CallScoped {
      readonly number = ++made;
      constructor(@Inject(REQUEST) readonly request: { readonly data: Note; readonly context: Metadata }) {}
    }
    @Controller()
    class ScopedController {
      constructor(@Inject(CallScoped) private readonly one: CallScoped) {}
      @GrpcMethod('Kinds', 'Unary')
      unary({ text }: Note, metadata: Metadata) {
        const { data, context } = this.one.request;
        return { number: this.one.number, text: `${data.text === text} ${context === metadata}` };
      }
      @GrpcStreamMethod('Kinds', 'Chat')
      chat(requests: Observable<Note>) {
        return requests.pipe(map(() => ({ number: this.one.number })));
      }
    }
    await withServer({ controllers: [ScopedController], providers: [CallScoped] }, async (client) => {
      for (const number of [1, 2]) {
        expect((await client.call(UNARY, { text: 'a' })).messages).toMatchObject([{ number, text: 'true true' }]);
      }
      expect(numbers(await client.call('parity.v1.Kinds/Chat', notes(3)))).toEqual([3, 3, 3]);
    });
  });
});

function isNote(value: unknown): value is Note {
  return typeof value === 'object' && value !== null && 'number' in value;
}
