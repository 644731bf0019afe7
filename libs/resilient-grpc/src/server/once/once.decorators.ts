import { AsyncLocalStorage } from 'node:async_hooks';
import {
  createParamDecorator,
  SetMetadata,
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { Observable } from 'rxjs';
import { serverCallOf } from '../../nest/inbound/grpc-inbound-call.js';
import type { GrpcHandler } from '../application-handlers.js';
import { servedCallOf } from '../calls/served-call.js';
import { OnceCall } from './once-call.js';

const ONCE_METADATA = 'nestjs-resilient-grpc:once';
/** Keys under which Nest's decorators store what they were given. Nest does not export them. */
const GUARDS_METADATA = '__guards__';
const INTERCEPTORS_METADATA = '__interceptors__';
const PIPES_METADATA = '__pipes__';
const PARAMETERS_METADATA = '__routeArguments__';

/** The call below whose interceptors this code runs: its pipes and its handler. Only for handlers with pipes. */
const current = new AsyncLocalStorage<OnceCall>();

/**
 * Makes a unary gRPC handler run once for each key of its callers: a repeated call gets the end of the first. Requires `once` of
 * `ResilientGrpcServerModule.forRoot()`, and clients with `methods: { Create: { once: true } }`; calls without a key are served as before.
 * See docs/guides/writes.md.
 */
export const Once = (): MethodDecorator => SetMetadata(ONCE_METADATA, true);

export function isOnceHandler(handler: object): boolean {
  return Reflect.getMetadata(ONCE_METADATA, handler) === true;
}

/** Runs after all guards of a handler, because it is the last of the method's own. */
const guard: CanActivate = {
  canActivate: (context: ExecutionContext) => {
    const call = callOf(context);
    return call === undefined || call.admit();
  },
};

/** Runs below all interceptors of a handler, just above its pipes. */
const interceptor: NestInterceptor = {
  intercept: (context: ExecutionContext, next: CallHandler): Observable<unknown> => {
    const call = callOf(context);
    if (call === undefined) return next.handle();
    call.isPiped = true;
    return new Observable((subscriber) => current.run(call, () => next.handle().subscribe(subscriber)));
  },
};

/**
 * Prepares an `@Once()` handler, before Nest creates it: puts the guard of this library behind those of the application, and notes when the
 * handler begins. Returns the function that Nest will find. Not in the decorator, because others replace the function, or find it by its name.
 */
export function prepareOnce({ controller, method, handler }: GrpcHandler): object {
  if (prepared.has(handler)) return handler;
  // Safe casts: the handler is a method of its controller.
  const own = handler as (this: unknown, ...args: unknown[]) => unknown;
  const once = function (this: unknown, ...args: unknown[]): unknown {
    const call = current.getStore();
    if (call !== undefined) call.hasBegun = true;
    return own.apply(this, args);
  };
  Object.defineProperty(once, 'name', { value: own.name, configurable: true });
  for (const key of Reflect.getMetadataKeys(handler) as unknown[])
    Reflect.defineMetadata(key, Reflect.getMetadata(key, handler), once);
  Object.defineProperty(controller.prototype, method, { value: once, writable: true, configurable: true });
  prepared.add(once);
  putLast(GUARDS_METADATA, once, guard);
  return once;
}

/** Handlers that are prepared; an application in the same process may have done it. */
const prepared = new WeakSet<object>();

/** Puts the interceptor behind those of the application, for a handler with pipes only: interceptors cost as much as the rest of Nest. */
export function addOnceInterceptor(handler: object): void {
  putLast(INTERCEPTORS_METADATA, handler, interceptor);
}

/** True if a handler has pipes of its own, of its parameters, or of its controller. */
export function hasOwnPipes({ controller, method, handler }: GrpcHandler): boolean {
  const ofParameters: unknown = Reflect.getMetadata(PARAMETERS_METADATA, controller, method);
  const lists = [
    Reflect.getMetadata(PIPES_METADATA, controller) as unknown,
    Reflect.getMetadata(PIPES_METADATA, handler) as unknown,
    ...Object.values((ofParameters ?? {}) as Readonly<Record<string, { readonly pipes?: unknown }>>).map(
      ({ pipes }) => pipes,
    ),
  ];
  return lists.some((list) => Array.isArray(list) && list.length > 0);
}

function putLast(key: string, handler: object, last: object): void {
  const given = (Reflect.getMetadata(key, handler) ?? []) as readonly unknown[];
  Reflect.defineMetadata(key, [...given.filter((one) => one !== last), last], handler);
}

/** Returns the call of an `@Once()` handler; `undefined` if the call has no key. */
function callOf(context: ExecutionContext): OnceCall | undefined {
  const found = context.getType() === 'rpc' ? serverCallOf(context.getArgs()) : undefined;
  const call = found && servedCallOf(found.call);
  return call instanceof OnceCall ? call : undefined;
}

/** A write in its `@Once()` handler. */
export interface OnceWrite {
  /** Key of the call; `undefined` if its caller sent none. */
  readonly key: string | undefined;
  /**
   * Writes `response` with the key in the transaction of `client`, as the last statement before its commit. The effect of the handler and its
   * answer are then one: either both exist, or neither. Does nothing for a call without a key, and in a store without transactions.
   * @throws the error of the store, for example because another process has taken over; roll the transaction back
   */
  commit(client: unknown, response: unknown): Promise<void>;
}

const NO_KEY: OnceWrite = { key: undefined, commit: () => Promise.resolve() };

/** Injects the write into an `@Once()` handler: `@CallOnce() once: OnceWrite`. With it, write `@Payload()` before the request. */
export const CallOnce = createParamDecorator(
  (_data: unknown, context: ExecutionContext): OnceWrite => callOf(context) ?? NO_KEY,
);
