import type { FactoryProvider, InjectionToken, Provider, Type } from '@nestjs/common';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import type { AsyncOptions } from './module-options.js';

/** Method with which a class creates the options of an async source. */
export type OptionsMethod = 'createGrpcModuleOptions' | 'createGrpcClientOptions' | 'createGrpcServerOptions';

/**
 * Returns providers that bind the result of an async source to `token`. If the source is a class, `method` creates the options.
 * @param path path of the source in configuration problems, such as 'clients.orders'
 */
export function asyncSourceProviders<M extends OptionsMethod, T>(
  token: InjectionToken,
  source: AsyncOptions<T, Readonly<Record<M, () => T | Promise<T>>>>,
  method: M,
  path: string,
): Provider[] {
  if (source.useFactory !== undefined) {
    return [{ provide: token, inject: [...(source.inject ?? [])], useFactory: source.useFactory }];
  }
  const key = source.useClass === undefined ? 'useExisting' : 'useClass';
  const factory = source.useClass ?? source.useExisting;
  const provider: FactoryProvider = {
    provide: token,
    inject: [factory],
    useFactory: (options: Readonly<Record<M, () => T | Promise<T>>>) => {
      assertMethod(options, factory, method, `${path}.${key}`);
      return options[method]();
    },
  };
  return source.useClass === undefined
    ? [provider]
    : [{ provide: source.useClass, useClass: source.useClass }, provider];
}

/**
 * Asserts that `instance` has `method`, because JavaScript callers can pass any class.
 * @throws GrpcConfigurationError if `instance` does not have `method`
 */
function assertMethod(instance: unknown, { name }: Type, method: OptionsMethod, path: string): void {
  if (typeof (instance as Partial<Record<OptionsMethod, unknown>> | undefined)?.[method] === 'function') return;
  const got = name === '' ? 'one' : name;
  const message = `expected a class with the method ${method}(), got ${got} without it; add the method`;
  throw new GrpcConfigurationError([{ path, message }]);
}
